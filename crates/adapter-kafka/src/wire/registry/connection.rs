//! HTTP to the registry, and what its faults mean.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use rustls::{ClientConfig, RootCertStore};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::RawError;
use tally_ports::{Fault, StopKind};

use crate::security::{client_config, roots_of_system};

/// How `schema_registry_converter` begins to tell of a status that is no success; the status follows.
const STATUS: &str = "HTTP request to schema registry failed with status ";

/// What an answer is that says something else.
pub(super) const UNFIT: &str = "its answer is not what was agreed on";

/// The connections to a registry. Its `Display` is the base URL as people know it, without user, password and query.
pub(super) struct Connection {
    settings: SrSettings,
    client: Client,
    base: Url,
    shown: String,
    timeout: Duration,
}

impl Connection {
    /// To the registry at `url`. The messages do not quote what cannot be parsed: where a password would stand in it is
    /// unknown.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, Fault> {
        let wrong = |fault: &str| {
            let example = "http://127.0.0.1:8081";
            let what = "the schema registry's URL (SCHEMA_REGISTRY_URL) is not like";
            Fault::stop(StopKind::Setting, format!("{what} {example}: {fault}"))
        };
        let mut base = Url::parse(url.trim()).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it starts neither with http:// nor with https://"));
        }
        if timeout.is_zero() {
            return Err(Fault::stop(StopKind::Setting, "the schema registry's timeout is 0"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let shown = format!("{}{path}", base.origin().ascii_serialization());

        let failed = |what: &str| {
            let message = format!("cannot set up HTTP to the schema registry at {shown}: {what}");
            Fault::stop(StopKind::Setting, message)
        };
        let builder = || builder(&base, timeout).map_err(|what| failed(&what));
        let client = builder()?.build().map_err(|error| failed(&cause(&error, timeout)))?;
        let settings = SrSettings::new_builder(base.as_str().trim_end_matches('/').to_owned())
            .set_timeout(timeout)
            .build_with(builder()?)
            .map_err(|error| failed(&error.error))?;
        Ok(Self { settings, client, base, shown, timeout })
    }

    /// For `schema_registry_converter`.
    pub(super) const fn settings(&self) -> &SrSettings {
        &self.settings
    }

    /// For what `schema_registry_converter` does not ask.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// The URL of what is below the base.
    pub(super) fn url(&self, below: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only a URL that cannot be a base has no segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(below);
        }
        url
    }

    /// An outage told by `schema_registry_converter`.
    pub(super) fn outage(&self, error: &SRCError) -> Fault {
        let source = error.source();
        let what = match source.and_then(|source| source.downcast_ref::<reqwest::Error>()) {
            _ if status(error).is_some() => {
                let status = error.error.strip_prefix(STATUS).unwrap_or_default();
                format!("answered {status}")
            }
            Some(error) => cause(error, self.timeout),
            None => UNFIT.into(),
        };
        Fault::outage(self.told(&what))
    }

    /// An outage told by reqwest.
    pub(super) fn broken(&self, error: &reqwest::Error) -> Fault {
        Fault::outage(self.told(&cause(error, self.timeout)))
    }

    pub(super) fn wrong(&self, what: &str) -> Fault {
        Fault::stop(StopKind::Setting, self.told(what))
    }

    pub(super) fn told(&self, what: &str) -> String {
        format!("schema registry at {}: {what}", self.shown)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether it is the registry itself that says that it has no such schema, subject or version. A 404 without its own
/// code comes from somebody before it, or from a wrong base URL.
pub(super) fn says_unknown(error: &SRCError) -> bool {
    let said = error.source().and_then(|source| source.downcast_ref::<RawError>());
    status(error) == Some(404) && said.is_some_and(|said| is_unknown(said.error_code))
}

/// Whether the registry's own code says that it has no such subject (40401), version (40402) or schema (40403).
pub(super) fn is_unknown(code: u32) -> bool {
    (40_400..40_500).contains(&code)
}

/// The status that `schema_registry_converter` tells of.
pub(super) fn status(error: &SRCError) -> Option<u16> {
    error.error.strip_prefix(STATUS)?.get(..3)?.parse().ok()
}

/// A client's making, twice the same: `schema_registry_converter` keeps one for itself.
fn builder(base: &Url, timeout: Duration) -> Result<ClientBuilder, String> {
    Ok(Client::builder()
        .tls_backend_preconfigured(tls(base)?)
        .connect_timeout(timeout)
        .timeout(timeout)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        // As for the model: a proxy named by the environment is not asked.
        .no_proxy()
        .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION"))))
}

/// With the machine's certificates, which are read only if the registry needs them, so that plain HTTP works where
/// there are none.
fn tls(base: &Url) -> Result<ClientConfig, String> {
    let roots = if base.scheme() == "https" {
        roots_of_system()
            .ok_or("no CA certificates on this machine; install them or set SSL_CERT_FILE")?
    } else {
        RootCertStore::empty()
    };
    client_config(roots).map_err(|error| error.to_string())
}

/// Why there is no answer. Holds neither the URL nor anything that the registry sent.
fn cause(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {timeout:?}");
    }
    let mut root: &(dyn Error + 'static) = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<io::Error>().map(io::Error::kind) {
        _ if root.is::<serde_json::Error>() => UNFIT.into(),
        Some(kind @ (io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)) => {
            kind.to_string()
        }
        _ => format!("no complete answer: {root}"),
    }
}
