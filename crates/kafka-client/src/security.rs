//! Encryption and authentication.

pub(crate) mod sasl;

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

/// How connections to brokers are encrypted and authenticated; neither by default.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// What rustls needs, if connections are encrypted: whom to trust, and certificates of our own.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who we are.
    pub sasl: Option<Sasl>,
}

/// Who we are, and by which mechanism we prove it. Its `Debug` shows no password.
#[derive(Clone)]
pub struct Sasl {
    /// By which mechanism.
    pub mechanism: Mechanism,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// How we prove who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself is sent: only over TLS.
    Plain,
    /// SCRAM-SHA-256; the broker, too, proves that it knows the password.
    ScramSha256,
    /// SCRAM-SHA-512; the broker, too, proves that it knows the password.
    ScramSha512,
}

impl Mechanism {
    /// Its name among SASL's mechanisms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let (username, password) = ("tally".to_owned(), "opensesame".to_owned());
        let sasl = Some(Sasl { mechanism: Mechanism::Plain, username, password });
        let shown = format!("{:?}", Security { sasl, ..Security::default() });
        assert!(shown.contains("tally") && !shown.contains("opensesame"), "{shown}");
    }
}
