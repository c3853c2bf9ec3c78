//! TLS to the model.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use tally_ports::{Stop, StopKind};

use crate::endpoint::Endpoint;

/// How to speak TLS to `endpoint`: with the process' crypto provider, ring where none is installed, and the machine's
/// certificates. These are read only if the endpoint needs them, so that plain HTTP works where there are none.
pub(crate) fn configuration(endpoint: &Endpoint) -> Result<ClientConfig, Stop> {
    let wrong = |what: String| Stop {
        kind: StopKind::Setting,
        message: format!("cannot use TLS to the model at {endpoint}: {what}"),
    };
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(ring::default_provider()));
    let mut roots = RootCertStore::empty();
    if endpoint.is_encrypted() {
        let found = rustls_native_certs::load_native_certs();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(wrong(format!(
                "no CA certificates on this machine{why}; install them or set SSL_CERT_FILE"
            )));
        }
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
