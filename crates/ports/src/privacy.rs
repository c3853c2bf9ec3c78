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

/// The record with the masked `payload` and its other bytes unchanged.
pub fn masked(raw: &Raw, payload: Option<Bytes>, fields: &[String]) -> Raw {
    let is_named = |name: &str| {
        fields.iter().any(|field| field == name || field.rsplit('.').next() == Some(name))
    };
    let kept = raw.headers.iter().filter(|(name, _)| !is_named(name)).cloned();
    let said = (MASKED.to_owned(), Some(Bytes::from(fields.join(","))));
    let headers: Headers = kept.chain([said]).collect();
    Raw { key: raw.key.clone(), payload, headers, ..*raw }
}

/// The record reduced to length and hash: it cannot be parsed, and its key may be a masked field.
pub fn unreadable(raw: &Raw, fields: &[String]) -> Raw {
    let payload = raw.payload.as_ref().map(|payload| {
        let hash = blake3::hash(payload).to_hex();
        Bytes::from(format!("{} bytes, BLAKE3 {hash}", payload.len()))
    });
    Raw { key: None, ..masked(raw, payload, fields) }
}
