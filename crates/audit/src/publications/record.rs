//! Records of topics, and those that should be there.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A record of a topic.
#[derive(Clone, Copy, Debug)]
pub struct FoundRecord<'a> {
    /// The index of the topic among [`Publications::topics`](super::Publications::topics).
    pub topic: usize,
    pub partition: i32,
    pub offset: i64,
    /// The header that names the flow.
    pub flow: Option<&'a [u8]>,
    /// The header that is the id.
    pub id: Option<&'a [u8]>,
    /// Of key and value, by [`digest`].
    pub digest: u32,
}

/// The log that a record was read from.
#[derive(Clone, Copy, Debug)]
pub struct ReadFrom<'a> {
    pub stream: &'a str,
    pub partition: i32,
    pub log: i64,
}

/// What a record publishes.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedPublication {
    /// The index of its output.
    pub output: usize,
    /// Of key and value, by [`digest`].
    pub digest: u32,
}

/// By what records are compared: equal ones have the same, and one in four thousand million others, too.
pub fn digest(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
