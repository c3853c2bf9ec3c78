//! A bucket.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use tally_ports::{Content, Listed, Place};
use tokio::runtime::Handle;

use crate::object::Object;

/// What the address of a bucket begins with.
const SCHEME: &str = "s3://";
/// A call is repeated by itself this often and this long; after that whoever called looks again.
const RETRIES: usize = 2;
const RETRIED_FOR: Duration = Duration::from_secs(10);

/// The objects below a prefix of a bucket.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    /// As it was given, without a slash at its end.
    url: String,
    prefix: Path,
}

impl Bucket {
    /// The objects below `s3://BUCKET/PREFIX`, of which it is looked whether they can be listed; `None` where it is no such address.
    ///
    /// # Errors
    /// Why they cannot be listed.
    pub async fn open(url: &str) -> Option<Result<Self, String>> {
        let rest = url.strip_prefix(SCHEME)?.trim_end_matches('/');
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self::below(name, prefix, url.trim_end_matches('/')).await)
    }

    async fn below(name: &str, prefix: &str, url: &str) -> Result<Self, String> {
        let wrong = |problem: &dyn fmt::Display| format!("{url} cannot be watched: {problem}");
        if name.is_empty() {
            return Err(wrong(&"it names no bucket; write s3://BUCKET/PREFIX"));
        }
        // One that is there already may stay.
        let _is_there = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRIED_FOR,
            ..RetryConfig::default()
        };
        let builder = AmazonS3Builder::from_env().with_bucket_name(name).with_retry(retry);
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let store = builder.with_allow_http(is_plain).build().map_err(|error| wrong(&error))?;
        let prefix = Path::parse(prefix).map_err(|error| wrong(&error))?;
        let bucket = Self { store: Arc::new(store), url: url.to_owned(), prefix };
        let first = bucket.store.list(Some(&bucket.prefix)).try_next().await;
        first.map(|_| bucket).map_err(|error| wrong(&error))
    }

    fn listed(&self, object: &ObjectMeta) -> Listed {
        let name: String = match object.location.prefix_match(&self.prefix) {
            Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
            None => object.location.to_string(),
        };
        let (size, modified) = (object.size, object.last_modified);
        let version = object.e_tag.clone().unwrap_or_else(|| format!("{size} bytes, {modified}"));
        Listed { name, version, size, modified }
    }

    fn location(&self, name: &str) -> Result<Path, String> {
        let path = if self.prefix.as_ref().is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        };
        Path::parse(path).map_err(|error| error.to_string())
    }
}

impl Place for Bucket {
    async fn list(&self) -> Result<Vec<Listed>, String> {
        let objects = self.store.list(Some(&self.prefix)).try_collect::<Vec<ObjectMeta>>().await;
        let objects = objects.map_err(|error| format!("{self} cannot be listed: {error}"))?;
        let listed = objects.iter().map(|object| self.listed(object));
        // A prefix may be an object of its own.
        Ok(listed.filter(|file| !file.name.is_empty()).collect())
    }

    async fn open(&self, file: &Listed) -> Result<Option<Arc<dyn Content>>, String> {
        let location = self.location(&file.name)?;
        let now = match self.store.head(&location).await {
            Ok(now) => now,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(format!("{self}/{} cannot be opened: {error}", file.name)),
        };
        // Some servers list times to the millisecond and answer them to the second.
        let is_same = match &now.e_tag {
            Some(tag) => *tag == file.version,
            None => now.size == file.size,
        };
        if !is_same {
            return Ok(None);
        }
        Ok(Some(Arc::new(Object::new(Arc::clone(&self.store), now, Handle::current()))))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        format!("{self}/{name}").into()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
