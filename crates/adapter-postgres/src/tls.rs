//! Encryption, as libpq's `sslmode` names it.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tally_ports::{Fault, StopKind};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How a connection is encrypted, and whom it trusts.
#[derive(Clone)]
pub(crate) struct Tls {
    mode: SslMode,
    pub(crate) connector: MakeRustlsConnect,
}

impl Tls {
    pub(crate) fn new(mode: Option<&str>, root_cert: Option<PathBuf>) -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        if root_cert.is_some() && mode != Some("verify-full") {
            return Err(setting(
                "sslrootcert in the database URL needs sslmode=verify-full".to_owned(),
            ));
        }
        let (mode, config) = match mode {
            Some("disable") => (SslMode::Disable, unchecked(provider)?),
            None | Some("prefer") => (SslMode::Prefer, unchecked(provider)?),
            Some("require") => (SslMode::Require, unchecked(provider)?),
            Some("verify-full") => {
                let roots = match root_cert {
                    Some(path) if path.as_os_str() != "system" => roots_of_file(&path)?,
                    _ => roots_of_system()?,
                };
                (
                    SslMode::Require,
                    builder(provider)?.with_root_certificates(roots).with_no_client_auth(),
                )
            }
            Some(_) => {
                let known = "disable, prefer, require or verify-full";
                return Err(setting(format!("sslmode in the database URL is not one of {known}")));
            }
        };
        Ok(Self { mode, connector: MakeRustlsConnect::new(config) })
    }

    pub(crate) const fn mode(&self) -> SslMode {
        self.mode
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

/// With a provider of our own: rustls panics where two are linked and none is installed.
fn builder(provider: Arc<CryptoProvider>) -> Result<Builder, Fault> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setting(format!("TLS cannot be set up: {error}")))
}

fn unchecked(provider: Arc<CryptoProvider>) -> Result<ClientConfig, Fault> {
    let verifier = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
    Ok(builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, Fault> {
    let unusable =
        |reason: String| setting(format!("cannot use sslrootcert {}: {reason}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let message = "sslmode=verify-full finds no trusted certificates in the system: name a file by sslrootcert";
        return Err(setting(message.to_owned()));
    }
    Ok(roots)
}

fn setting(message: String) -> Fault {
    Fault::stop(StopKind::Setting, message)
}

/// Accepts every certificate: `require` means encrypted, not authenticated.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
