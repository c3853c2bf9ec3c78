//! Registering a schema.

use schema_registry_converter::async_impl::schema_registry::post_schema;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SuppliedSchema};
use serde::Deserialize;
use serde_json::json;
use tally_ports::Fault;

use super::connection::{self, Connection};

/// Registers `schema` as the subject's latest version, unless it is there already, and answers its id.
pub(super) async fn register(
    registry: &Connection,
    subject: &str,
    schema: &str,
) -> Result<u32, Fault> {
    check(registry, subject, schema).await?;
    let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
    let registered = post_schema(registry.settings(), subject.to_owned(), supplied).await;
    registered.map(|schema| schema.id).map_err(|error| match connection::status(&error) {
        Some(409) => incompatible(registry, subject),
        Some(status) => refused(registry, subject, status),
        None => registry.outage(&error),
    })
}

/// Refuses a schema that may not follow the subject's latest version. `POST subjects/S/versions` would refuse it too,
/// but some registries take any there.
async fn check(registry: &Connection, subject: &str, schema: &str) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Answer {
        is_compatible: bool,
    }

    let url = registry.url(&["compatibility", "subjects", subject, "versions", "latest"]);
    let body = json!({ "schema": schema, "schemaType": "AVRO" });
    let request = registry
        .client()
        .post(url)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .header("accept", "application/vnd.schemaregistry.v1+json")
        .body(body.to_string());
    let response = request.send().await.map_err(|error| registry.broken(&error))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| registry.broken(&error))?;
    if status.is_success() {
        return match serde_json::from_slice(&body) {
            Ok(Answer { is_compatible: true }) => Ok(()),
            Ok(Answer { is_compatible: false }) => Err(incompatible(registry, subject)),
            Err(_) => Err(Fault::outage(registry.told(connection::UNFIT))),
        };
    }
    let has_no_version = status.as_u16() == 404
        && serde_json::from_slice(&body)
            .is_ok_and(|error: RawError| connection::is_unknown(error.error_code));
    if has_no_version { Ok(()) } else { Err(refused(registry, subject, status.as_u16())) }
}

fn incompatible(registry: &Connection, subject: &str) -> Fault {
    registry.wrong(&format!(
        "the schema is not compatible with the latest version of subject {subject}; register a compatible one there, or \
         write to another topic"
    ))
}

/// What a status means that is neither success nor an answer to what was asked.
fn refused(registry: &Connection, subject: &str, status: u16) -> Fault {
    match status {
        401 | 403 => registry.wrong(&format!(
            "answered {status}: check the user and password in its URL (SCHEMA_REGISTRY_URL)"
        )),
        404 => registry.wrong("answered 404: check its URL (SCHEMA_REGISTRY_URL)"),
        422 => registry.wrong(&format!("refuses the schema for subject {subject} (422)")),
        _ => Fault::outage(registry.told(&format!("answered {status}"))),
    }
}
