//! Reads partitions of Kafka topics exactly.

mod batch;
mod compression;

pub use self::batch::{
    AbortedTransaction, Batches, Broken, Headers, Marker, Passed, Piece, Reading, Record,
    RecordBatch, Timestamps, Why,
};
pub use self::compression::Codec;
