//! Answers that are larger than is read.
//!
//! A broker sends the first batch of an answer whole, however large that is. Of an answer over the limit only its start
//! is received, which tells what offsets the batch has.

use std::ops::Range;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};
use kafka_protocol::protocol::{Decodable, HeaderVersion};

/// What follows the records of the only partition: no tagged fields of it, of its topic, and of the answer.
const AFTER_RECORDS: Bytes = Bytes::from_static(&[0; 3]);

/// What a broker answers to a fetch.
pub(crate) struct FetchAnswer {
    pub(crate) response: FetchResponse,
    /// Whether the end of the records is missing.
    pub(crate) is_cut: bool,
}

impl FetchAnswer {
    /// From all bytes of an answer or, if it `is_cut`, its first ones.
    pub(crate) fn decode(mut bytes: Bytes, is_cut: bool, version: i16) -> Result<Self, String> {
        let response = if is_cut {
            FetchResponse::decode(&mut Start(bytes), version)
        } else {
            FetchResponse::decode(&mut bytes, version)
        };
        let response = response.map_err(|error| error.to_string())?;
        Ok(Self { response, is_cut })
    }
}

impl HeaderVersion for FetchAnswer {
    fn header_version(version: i16) -> i16 {
        FetchResponse::header_version(version)
    }
}

/// The start of an answer about one partition. Records that lead past its end are taken as far as they are there.
struct Start(Bytes);

impl Buf for Start {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}

impl ByteBuf for Start {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.0.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.0.split_to(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        if size <= self.0.len() {
            return Ok(self.get_bytes(size));
        }
        Ok(std::mem::replace(&mut self.0, AFTER_RECORDS))
    }
}
