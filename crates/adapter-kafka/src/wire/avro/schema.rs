//! A writer's schema, made ready for reading.

use std::collections::HashMap;
use std::fmt;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, NamespaceRef, UuidSchema};

use tally_domain::ByteString;

use super::datum::Datum;
use crate::wire::broken::Broken;

/// More decimals than any column has: a longer scale would only make long texts.
const LARGEST_SCALE: usize = 1_000;

/// A writer's schema, every name of it resolved.
pub(in crate::wire) struct WriterSchema {
    nodes: Vec<Node>,
    root: usize,
}

/// A type of the schema. Others are named by their index.
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// Of so many bytes, or of counted ones.
    Decimal {
        scale: usize,
        size: Option<usize>,
    },
    /// A decimal that brings its scale.
    BigDecimal,
    /// Of 16 bytes, or of counted ones.
    Uuid {
        is_counted: bool,
    },
    Date,
    Timestamp {
        per_second: i64,
        is_utc: bool,
    },
    Enum(Vec<ByteString>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<Field>),
}

impl Node {
    /// Whether it is a number, or a date, of which the schema does not say what moment it is.
    pub(super) const fn lacks_unit(&self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Float | Self::Double | Self::Date)
    }
}

/// A field of a record.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) node: usize,
}

/// Why records of a schema cannot be read: a reason for the people who see the dead letters.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Unusable(pub(in crate::wire) String);

impl WriterSchema {
    /// Makes `schema` ready, which may name the types of `references`, as these may each other's.
    pub(in crate::wire) fn parse(schema: &str, references: &[String]) -> Result<Self, Unusable> {
        let (schema, references) = Schema::parse_str_with_list(schema, references)
            .map_err(|error| Unusable(format!("it cannot be used: {error}")))?;
        let named = |reference| Some((Schema::name(reference)?.clone(), reference));
        let mut building = Building {
            references: references.iter().filter_map(named).collect(),
            ..Building::default()
        };
        let root = building.add(&schema, None)?;
        let nodes = building.nodes.into_iter().map(|node| node.unwrap_or(Node::Null)).collect();
        Ok(Self { nodes, root })
    }

    pub(super) fn root(&self) -> &Node {
        self.node(self.root)
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// What comes next where `node` may be a union: one of its branches then, which is none itself.
    pub(super) fn resolve<'a>(
        &'a self,
        node: &'a Node,
        datum: &mut Datum<'_>,
    ) -> Result<&'a Node, Broken> {
        let Node::Union(branches) = node else { return Ok(node) };
        let branch = branches.get(datum.index()?);
        branch
            .map(|&branch| self.node(branch))
            .ok_or_else(|| Broken::new("a branch that its union does not have"))
    }
}

impl Node {
    /// What a message calls a value of it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Int
            | Self::Long
            | Self::Float
            | Self::Double
            | Self::Decimal { .. }
            | Self::BigDecimal => "a number",
            Self::Bytes
            | Self::String
            | Self::Uuid { .. }
            | Self::Date
            | Self::Timestamp { .. }
            | Self::Enum(_) => "a text",
            Self::Fixed(_) => "a fixed",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Record(_) => "a record",
            Self::Union(_) => "a union",
        }
    }
}

impl fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterSchema { .. }")
    }
}

/// A schema half made ready.
#[derive(Default)]
struct Building<'a> {
    /// Schemas that are ready once somebody names them.
    references: HashMap<Name, &'a Schema>,
    /// `None` for one that is being added: a type may hold itself.
    nodes: Vec<Option<Node>>,
    named: HashMap<Name, usize>,
}

impl Building<'_> {
    fn add(&mut self, schema: &Schema, namespace: NamespaceRef<'_>) -> Result<usize, Unusable> {
        if let Schema::Ref { name } = schema {
            let name = name.fully_qualified_name(namespace);
            if let Some(&index) = self.named.get(&*name) {
                return Ok(index);
            }
            let Some(reference) = self.references.remove(&*name) else {
                return Err(Unusable(format!("it does not say what a {name} is")));
            };
            return self.add(reference, None);
        }
        let index = self.nodes.len();
        self.nodes.push(None);
        let name = schema.name().map(|name| name.fully_qualified_name(namespace));
        if let Some(name) = &name {
            self.named.insert(name.clone().into_owned(), index);
        }
        let inside = name.as_ref().and_then(|name| name.namespace());
        let node = self.node(schema, inside)?;
        self.nodes[index] = Some(node);
        Ok(index)
    }

    fn node(&mut self, schema: &Schema, namespace: NamespaceRef<'_>) -> Result<Node, Unusable> {
        let timestamp = |per_second, is_utc| Node::Timestamp { per_second, is_utc };
        Ok(match schema {
            // A name is resolved before.
            Schema::Null | Schema::Ref { .. } => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::TimeMillis => Node::Int,
            Schema::Long | Schema::TimeMicros => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes => Node::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
            Schema::Fixed(fixed) | Schema::Duration(fixed) => Node::Fixed(fixed.size),
            Schema::Decimal(decimal) if decimal.scale > LARGEST_SCALE => {
                let what = format!("it has a scale of more than {LARGEST_SCALE}");
                return Err(Unusable(what));
            }
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                Node::Decimal { scale: decimal.scale, size }
            }
            Schema::BigDecimal => Node::BigDecimal,
            Schema::Uuid(UuidSchema::Bytes) => Node::Uuid { is_counted: true },
            Schema::Uuid(UuidSchema::Fixed(_)) => Node::Uuid { is_counted: false },
            Schema::Date => Node::Date,
            Schema::TimestampMillis => timestamp(1_000, true),
            Schema::TimestampMicros => timestamp(1_000_000, true),
            Schema::TimestampNanos => timestamp(1_000_000_000, true),
            Schema::LocalTimestampMillis => timestamp(1_000, false),
            Schema::LocalTimestampMicros => timestamp(1_000_000, false),
            Schema::LocalTimestampNanos => timestamp(1_000_000_000, false),
            Schema::Enum(symbols) => {
                Node::Enum(symbols.symbols.iter().map(|symbol| symbol.as_str().into()).collect())
            }
            Schema::Array(array) => Node::Array(self.add(&array.items, namespace)?),
            Schema::Map(map) => Node::Map(self.add(&map.types, namespace)?),
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.add(branch, namespace));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|field| {
                    let node = self.add(&field.schema, namespace)?;
                    Ok(Field { name: field.name.clone(), node })
                });
                Node::Record(fields.collect::<Result<_, _>>()?)
            }
        })
    }
}
