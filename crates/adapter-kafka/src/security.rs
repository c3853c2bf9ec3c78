//! Encryption and authentication.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tally_kafka_client::Sasl;
use tally_ports::Fault;

use crate::fault::setting;

/// How connections to brokers are encrypted and authenticated; neither by default.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Whether connections are encrypted. A broker's certificate and host name are always checked then.
    pub tls: bool,
    /// A PEM file with the certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// User and mechanism.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// What rustls needs, if connections are encrypted.
    pub(crate) fn tls_config(&self) -> Result<Option<Arc<ClientConfig>>, Fault> {
        if !self.tls {
            return Ok(None);
        }
        let roots = match &self.ca_file {
            Some(path) => roots_of_file(path)?,
            None => roots_of_system().ok_or_else(|| {
                setting(
                    "TLS to kafka finds no trusted certificates on this machine: name a CA file",
                )
            })?,
        };
        let config = client_config(roots)
            .map_err(|error| setting(format!("cannot set up TLS to kafka: {error}")))?;
        Ok(Some(Arc::new(config)))
    }
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, Fault> {
    let unusable = |reason: String| {
        setting(format!("cannot use the CA file {} for kafka: {reason}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// The machine's certificates, if there are any.
pub(crate) fn roots_of_system() -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (!roots.is_empty()).then_some(roots)
}

/// With the process' crypto provider, or ring if none is installed: rustls panics when two are linked and none is installed.
pub(crate) fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| ring::default_provider().into());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(ca_file: &Path, why: &str) {
        let ca_file = Some(ca_file.to_path_buf());
        let fault = Security { tls: true, ca_file, sasl: None }.tls_config().unwrap_err();
        assert!(fault.to_string().contains(why), "{fault}");
    }

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        check_refused(&empty, "it holds no certificate");
        check_refused(&folder.path().join("missing.pem"), "missing.pem");
    }
}
