//! Avro.

mod broken;
mod columns;
mod support;
mod types;
