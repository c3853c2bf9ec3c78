//! TLS to the model.

use reqwest::ClientBuilder;
use tally_ports::{Stop, StopKind};

use crate::endpoint::Endpoint;

/// Sets up the TLS that `endpoint` needs.
#[cfg(feature = "tls")]
pub(crate) fn equip(client: ClientBuilder, endpoint: &Endpoint) -> Result<ClientBuilder, Stop> {
    Ok(client.tls_backend_preconfigured(configuration(endpoint)?))
}

/// Refuses an `endpoint` that needs TLS.
#[cfg(not(feature = "tls"))]
pub(crate) fn equip(client: ClientBuilder, endpoint: &Endpoint) -> Result<ClientBuilder, Stop> {
    if endpoint.is_encrypted() {
        return Err(wrong(endpoint, "this program was built without the feature `tls`"));
    }
    Ok(client)
}

/// The process' crypto provider, ring where none is installed, and the machine's certificates. These are read only if
/// the endpoint needs them, so that plain HTTP works where there are none.
#[cfg(feature = "tls")]
fn configuration(endpoint: &Endpoint) -> Result<rustls::ClientConfig, Stop> {
    use rustls::crypto::{CryptoProvider, ring};

    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| ring::default_provider().into());
    let mut roots = rustls::RootCertStore::empty();
    if endpoint.is_encrypted() {
        let found = rustls_native_certs::load_native_certs();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            let what = format!(
                "no CA certificates on this machine{why}; install them or set SSL_CERT_FILE"
            );
            return Err(wrong(endpoint, &what));
        }
    }
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(endpoint, &error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Why a server's certificate is not trusted, where it is for its issuer or for its name: no waiting helps then.
#[cfg(feature = "tls")]
pub(crate) fn distrusted(error: &reqwest::Error) -> Option<String> {
    use std::error::Error;

    use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};

    let mut link = error.source();
    let found = loop {
        let error = link?;
        if let Some(rustls::Error::InvalidCertificate(found)) = error.downcast_ref() {
            break found;
        }
        // The source of an I/O error is that of the error in it.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        link = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    };
    match found {
        UnknownIssuer => Some(
            "nobody known has issued its certificate: install its authority's on this machine or name it \
             by SSL_CERT_FILE"
                .to_owned(),
        ),
        NotValidForName | NotValidForNameContext { .. } => {
            Some(format!("its certificate is for another host: {found}; check its URL (ML_API_URL)"))
        }
        _ => None,
    }
}

#[cfg(not(feature = "tls"))]
pub(crate) const fn distrusted(_: &reqwest::Error) -> Option<String> {
    None
}

fn wrong(endpoint: &Endpoint, what: &str) -> Stop {
    let message = format!("cannot use TLS to the model at {endpoint}: {what}");
    Stop { kind: StopKind::Setting, message }
}
