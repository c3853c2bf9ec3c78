//! An object.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tally_ports::Content;
use tokio::runtime::Handle;

/// How much is asked for at once.
const RANGE: u64 = 4 * 1024 * 1024;

/// A version of an object.
#[derive(Debug)]
pub(crate) struct Object {
    store: Arc<AmazonS3>,
    meta: ObjectMeta,
    runtime: Handle,
    /// The range that was asked for last, and where it begins.
    last: Mutex<(u64, Bytes)>,
}

impl Object {
    pub(crate) fn new(store: Arc<AmazonS3>, meta: ObjectMeta, runtime: Handle) -> Self {
        Self { store, meta, runtime, last: Mutex::default() }
    }

    fn range(&self, byte: u64) -> io::Result<Bytes> {
        let end = self.meta.size.min(byte + RANGE);
        let range = Some(GetRange::Bounded(byte..end));
        let options =
            GetOptions { range, if_match: self.meta.e_tag.clone(), ..GetOptions::default() };
        let getting =
            async { self.store.get_opts(&self.meta.location, options).await?.bytes().await };
        self.runtime.block_on(getting).map_err(|error| match error {
            Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, "it is gone"),
            Error::Precondition { .. } => io::Error::other("it is another one now"),
            error => io::Error::other(error),
        })
    }
}

impl Content for Object {
    fn size(&self) -> u64 {
        self.meta.size
    }

    fn read_at(&self, buffer: &mut [u8], byte: u64) -> io::Result<usize> {
        if byte >= self.meta.size || buffer.is_empty() {
            return Ok(0);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, bytes) = &*last;
        if byte < *begin || byte >= begin + bytes.len() as u64 {
            *last = (byte, self.range(byte)?);
        }
        let (begin, bytes) = &*last;
        let at = usize::try_from(byte - begin).unwrap_or(usize::MAX);
        let there = bytes.get(at..).unwrap_or_default();
        let read = there.len().min(buffer.len());
        buffer[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn change(&self) -> io::Result<Option<String>> {
        let now = self.runtime.block_on(self.store.head(&self.meta.location));
        match now {
            Ok(now) if now.e_tag == self.meta.e_tag && now.size == self.meta.size => Ok(None),
            Ok(now) => Ok(Some(format!(
                "its ETag was {}, now it is {}",
                self.meta.e_tag.as_deref().unwrap_or("none"),
                now.e_tag.as_deref().unwrap_or("none")
            ))),
            Err(Error::NotFound { .. }) => Ok(Some("it was deleted".to_owned())),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
