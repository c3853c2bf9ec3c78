//! What must not be kept of a dead letter.

use std::fmt;

use bytes::Bytes;

use crate::{Headers, Raw};

/// The header that says which fields of a dead letter were masked; such a dead letter cannot be replayed.
pub const MASKED: &str = "masked";

/// What stands for a masked value.
pub const MASK: &str = "***";

/// Takes the values of named fields out of a record's bytes, in the format of the source they come from.
pub trait Mask: fmt::Debug + Send + Sync + 'static {
    /// The record without the values of those fields, at whatever depth, its key and headers among them, and with the
    /// header [`MASKED`]. Of a payload in which the fields cannot be told only length and hash are kept, of such a key
    /// nothing.
    fn mask(&self, raw: &Raw) -> Raw;
}

/// A record of which `payload` is left, and its other bytes as they were.
pub fn masked(raw: &Raw, payload: Option<Bytes>, fields: &[String]) -> Raw {
    let is_named = |name: &str| {
        fields.iter().any(|field| field == name || field.rsplit('.').next() == Some(name))
    };
    let kept = raw.headers.iter().filter(|(name, _)| !is_named(name)).cloned();
    let said = (MASKED.to_owned(), Bytes::from(fields.join(",")));
    let headers: Headers = kept.chain([said]).collect();
    Raw { key: raw.key.clone(), payload, headers, ..*raw }
}

/// A record of which only length and hash are left: the fields cannot be told in it, and its key may be one of them.
pub fn unreadable(raw: &Raw, fields: &[String]) -> Raw {
    let payload = raw.payload.as_ref().map(|payload| {
        let hash = blake3::hash(payload).to_hex();
        Bytes::from(format!("{} bytes, BLAKE3 {hash}", payload.len()))
    });
    Raw { key: None, ..masked(raw, payload, fields) }
}
