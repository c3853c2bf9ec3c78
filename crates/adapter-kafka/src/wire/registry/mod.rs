//! The schema registry: Confluent's API, which Apicurio and Karapace speak too.

mod connection;
mod register;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use schema_registry_converter::async_impl::schema_registry::{
    get_referenced_schema, get_schema_by_id,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RegisteredReference, RegisteredSchema, SchemaType,
};
use tally_ports::Fault;

use self::connection::Connection;
use super::avro::{Unusable, WriterSchema};

/// How long an id is held to be unknown before the registry is asked again. A schema can be registered late, but a topic
/// full of one unknown id should not cost a request for each record.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// More unknown ids are not remembered: they come out of the records.
const UNKNOWN_LIMIT: usize = 1_024;
/// More schemas that one refers to, directly or not, are not fetched.
const REFERENCES_LIMIT: usize = 100;

/// A schema registry. Cheap to clone; the clones share what they know. Nothing is asked of it before it is needed. Its
/// `Debug` shows no secret.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Connection,
    known: RwLock<HashMap<u32, Known>>,
}

/// What the registry said of an id.
enum Known {
    /// Which it never takes back.
    For(Lookup),
    /// Which may change.
    UnknownSince(Instant),
}

/// How the records of a schema are read.
#[derive(Clone, Debug)]
pub(super) enum Lookup {
    /// As Avro.
    Avro(Arc<WriterSchema>),
    /// As JSON: the schema is a JSON Schema.
    Json,
    /// There is no such schema.
    Unknown,
    /// They cannot be read, now or later.
    Unusable(Unusable),
}

impl Registry {
    /// The registry at the base `url` (Apicurio's ends with `/apis/ccompat/v7`), perhaps with a user and a password in it.
    /// An answer has to be complete within `timeout`.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, Fault> {
        let connection = Connection::new(url, timeout)?;
        Ok(Self { shared: Arc::new(Shared { connection, known: RwLock::default() }) })
    }

    /// Registers an Avro schema for the values of `topic` and answers its id; the same as before where it is known.
    ///
    /// Refuses one that the registry's rule for the subject does not let follow the latest version. Changes no rule.
    pub async fn register(&self, topic: &str, schema: &str) -> Result<u32, Fault> {
        register::register(&self.shared.connection, &format!("{topic}-value"), schema).await
    }

    /// The schema of an id. Everything but the registry's own word that it is unknown is a fault, and forgotten.
    pub(super) async fn schema(&self, id: u32) -> Result<Lookup, Fault> {
        if let Some(found) = self.remembered(id) {
            return Ok(found);
        }
        let found = self.fetch(id).await?;
        self.remember(id, &found);
        Ok(found)
    }

    /// The schema of an id, if it is remembered.
    pub(super) fn remembered(&self, id: u32) -> Option<Lookup> {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id)? {
            Known::For(found) => Some(found.clone()),
            Known::UnknownSince(at) if at.elapsed() < UNKNOWN_FOR => Some(Lookup::Unknown),
            Known::UnknownSince(_) => None,
        }
    }

    fn remember(&self, id: u32, found: &Lookup) {
        let mut known = self.shared.known.write().unwrap_or_else(PoisonError::into_inner);
        let fact = match found {
            Lookup::Unknown => {
                let is_unknown = |fact: &Known| matches!(fact, Known::UnknownSince(_));
                if known.values().filter(|fact| is_unknown(fact)).count() >= UNKNOWN_LIMIT {
                    known.retain(|_, fact| !is_unknown(fact));
                }
                Known::UnknownSince(Instant::now())
            }
            _ => Known::For(found.clone()),
        };
        known.insert(id, fact);
    }

    async fn fetch(&self, id: u32) -> Result<Lookup, Fault> {
        let connection = &self.shared.connection;
        let answer = get_schema_by_id(id, connection.settings()).await;
        let Some(schema) = self.unless_unknown(answer)? else { return Ok(Lookup::Unknown) };
        match schema.schema_type {
            SchemaType::Avro => {}
            SchemaType::Json => return Ok(Lookup::Json),
            _ => {
                let why = "it is neither an Avro schema nor a JSON Schema";
                return Ok(Lookup::Unusable(Unusable(why.into())));
            }
        }

        let mut references = References::default();
        references.want(schema.references);
        while let Some(reference) = references.wanted.pop() {
            let answer = get_referenced_schema(connection.settings(), &reference).await;
            let Some(schema) = self.unless_unknown(answer)? else { return Ok(Lookup::Unknown) };
            references.found.push(schema.schema);
            references.want(schema.references);
            if references.found.len() > REFERENCES_LIMIT {
                let why = format!("it refers to more than {REFERENCES_LIMIT} others");
                return Ok(Lookup::Unusable(Unusable(why)));
            }
        }
        Ok(match WriterSchema::parse(&schema.schema, &references.found) {
            Ok(schema) => Lookup::Avro(Arc::new(schema)),
            Err(unusable) => Lookup::Unusable(unusable),
        })
    }

    /// The schema; `None` where the registry says that there is none.
    fn unless_unknown(
        &self,
        answer: Result<RegisteredSchema, SRCError>,
    ) -> Result<Option<RegisteredSchema>, Fault> {
        match answer {
            Ok(schema) => Ok(Some(schema)),
            Err(error) if connection::says_unknown(&error) => Ok(None),
            Err(error) => Err(self.shared.connection.outage(&error)),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&format_args!("{}", self.shared.connection)).finish()
    }
}

/// The schemas that a schema refers to.
#[derive(Default)]
struct References {
    /// Each once.
    seen: Vec<(String, u32)>,
    wanted: Vec<RegisteredReference>,
    found: Vec<String>,
}

impl References {
    fn want(&mut self, references: Vec<RegisteredReference>) {
        for reference in references {
            let identity = (reference.subject.clone(), reference.version);
            if !self.seen.contains(&identity) {
                self.seen.push(identity);
                self.wanted.push(reference);
            }
        }
    }
}
