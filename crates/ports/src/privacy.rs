//! Masking of fields in dead letters.

use std::fmt;

use bytes::Bytes;

use crate::{Headers, Raw};

/// The header that says which fields of a dead letter were masked; such a dead letter cannot be replayed.
pub const MASKED: &str = "masked";

/// The text that replaces a masked value.
pub const MASK: &str = "***";

/// Masks the values of named fields in a record's bytes, in the format of its source.
pub trait Mask: fmt::Debug + Send + Sync + 'static {
    /// The record without the values of those fields, at any depth, its key and headers among them, and with the
    /// header [`MASKED`]. A payload that cannot be parsed is replaced by its length and hash, such a key is
    /// dropped.
    fn mask(&self, raw: &Raw) -> Raw;
}

/// Whether a header of this name may hold the value of one of the `fields`.
pub fn is_header_named(fields: &[String], name: &str) -> bool {
    fields.iter().any(|field| field == name || field.rsplit('.').next() == Some(name))
}

/// The record with the masked `payload` and its other bytes unchanged.
pub fn masked(raw: &Raw, payload: Option<Bytes>, fields: &[String]) -> Raw {
    let kept = raw.headers.iter().filter(|(name, _)| !is_header_named(fields, name)).cloned();
    let said = (MASKED.to_owned(), Some(Bytes::from(fields.join(","))));
    let headers: Headers = kept.chain([said]).collect();
    Raw { key: raw.key.clone(), payload, headers, ..*raw }
}

/// The record reduced to length and hash: it cannot be parsed, and its key may be a masked field.
pub fn unreadable(raw: &Raw, fields: &[String]) -> Raw {
    let payload = raw.payload.as_ref().map(|payload| length_and_hash(payload).into());
    Raw { key: None, ..masked(raw, payload, fields) }
}

/// What is said of bytes that cannot be masked.
pub fn length_and_hash(bytes: &[u8]) -> String {
    format!("{} bytes, BLAKE3 {}", bytes.len(), blake3::hash(bytes).to_hex())
}
