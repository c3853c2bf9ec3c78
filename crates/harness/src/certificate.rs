//! Certificates for servers on this machine, made as the services' own are.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::service::root;

/// A certificate for `localhost` and 127.0.0.1, and the authority that has issued it.
pub struct Certificate {
    folder: PathBuf,
    _made: Option<TempDir>,
}

impl Certificate {
    /// A new one. Panics where `openssl` cannot make it.
    pub fn new() -> Self {
        let made = tempfile::tempdir().expect("a folder");
        let folder = made.path().join("tls");
        let output = Command::new("bash")
            .args(["-euc", r#". "$1"; make_certificate "$2""#, "_"])
            .arg(root().join("infra/native/lib.sh"))
            .arg(&folder)
            .output()
            .expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, _made: Some(made) }
    }

    /// One that another process has made and keeps.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), _made: None }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority, a file of PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A server that has it.
    pub fn server(&self) -> ServerConfig {
        let chain = CertificateDer::pem_file_iter(self.folder.join("server.crt"))
            .and_then(Iterator::collect)
            .expect("certificates");
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key")).expect("a key");
        ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .expect("a certificate and its key")
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
