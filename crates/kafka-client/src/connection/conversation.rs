//! Requests and answers as a connection carries them.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::api::{Api, Call};
use crate::error::Error;

/// What is sent for a request, its length first.
pub(super) fn frame<C: Call>(
    client_id: &StrBytes,
    correlation_id: i32,
    version: i16,
    request: &C,
) -> Result<Bytes, Error> {
    let header = RequestHeader::default()
        .with_request_api_key(C::API.key())
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let unsendable = |error| Error::Setting(format!("cannot send {}: {error:#}", C::API));
    let mut framed = BytesMut::zeroed(LENGTH);
    header.encode(&mut framed, C::header_version(version)).map_err(unsendable)?;
    request.encode(&mut framed, version).map_err(unsendable)?;
    let length = i32::try_from(framed.len() - LENGTH)
        .map_err(|_| Error::Setting(format!("{} would be over 2 GiB", C::API)))?;
    framed[..LENGTH].copy_from_slice(&length.to_be_bytes());
    Ok(framed.freeze())
}

/// How many bytes a length takes.
const LENGTH: usize = 4;

/// With whom, and how long an answer may be.
#[derive(Clone)]
pub(super) struct Conversation {
    pub(super) broker: Arc<str>,
    pub(super) max_answer_bytes: usize,
}

impl Conversation {
    pub(super) async fn send(
        &self,
        api: Api,
        writer: &mut (impl AsyncWrite + Unpin),
        framed: &[u8],
    ) -> Result<(), Error> {
        writer.write_all(framed).await.map_err(|source| self.lost(api, source))?;
        writer.flush().await.map_err(|source| self.lost(api, source))
    }

    /// An answer, and whether that is all of it: that of a fetch is cut off at the limit.
    pub(super) async fn receive(
        &self,
        api: Api,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(Bytes, bool), Error> {
        let announced = reader.read_i32().await.map_err(|source| self.lost(api, source))?;
        let limit = self.max_answer_bytes;
        let (size, is_whole) = match usize::try_from(announced) {
            Ok(size) if size <= limit => (size, true),
            Ok(_) if api == Api::Fetch => (limit, false),
            _ => {
                let (broker, size) = (self.broker.clone(), announced.into());
                return Err(Error::AnswerTooLarge { broker, api, size, limit });
            }
        };
        let mut answer = BytesMut::with_capacity(size);
        let mut rest = reader.take(size as u64);
        while answer.len() < size {
            let read = rest.read_buf(&mut answer).await;
            if read.map_err(|source| self.lost(api, source))? == 0 {
                return Err(self.lost(api, io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok((answer.freeze(), is_whole))
    }

    /// What is behind the header of an answer.
    pub(super) fn open<C: Call>(
        &self,
        mut answer: Bytes,
        correlation_id: i32,
        version: i16,
    ) -> Result<Bytes, Error> {
        let header = ResponseHeader::decode(&mut answer, C::Answer::header_version(version))
            .map_err(|error| self.garbled(C::API, &error.to_string()))?;
        if header.correlation_id != correlation_id {
            let reason =
                format!("it is for request {}, not {correlation_id}", header.correlation_id);
            return Err(self.garbled(C::API, &reason));
        }
        Ok(answer)
    }

    pub(super) fn garbled(&self, api: Api, reason: &str) -> Error {
        Error::Garbled { broker: self.broker.clone(), api, reason: reason.trim().to_owned() }
    }

    fn lost(&self, api: Api, source: io::Error) -> Error {
        Error::Lost { broker: self.broker.clone(), api, source: source.into() }
    }
}
