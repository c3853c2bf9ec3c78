use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::service::{Script, Service};

const SCRIPT: Script = Script {
    name: "postgres.sh",
    cleared: &["PG_DIR", "PG_DB", "PG_SUPERUSER", "PG_PASSWORD", "PG_WAL_LEVEL"],
};

/// A server and our claim on it.
pub(super) struct Server {
    service: Service,
    port: u16,
}

impl Server {
    /// Starts it unless it is up.
    pub(super) fn start(
        folder: PathBuf,
        wipe_idle: Duration,
        more: Option<(&'static str, String)>,
    ) -> Self {
        let mut settings = vec![
            ("PG_PORT", "0".to_owned()),
            ("PG_TLS", "1".to_owned()),
            ("PG_FSYNC", "off".to_owned()),
            ("PG_MAX_CONNECTIONS", "200".to_owned()),
            ("PG_WIPE_IDLE", wipe_idle.as_secs().to_string()),
        ];
        settings.extend(more);
        let service = Service::start(SCRIPT, folder, settings);
        let port = service.note("postgres/port").parse().expect("a port");
        Self { service, port }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn url(&self, user: &str, password: &str, database: &str) -> String {
        let (user, password) = (
            utf8_percent_encode(user, NON_ALPHANUMERIC),
            utf8_percent_encode(password, NON_ALPHANUMERIC),
        );
        format!("postgres://{user}:{password}@{}/{database}", self.addr())
    }

    pub(super) fn superuser_url(&self, database: &str) -> String {
        self.url("postgres", "postgres", database)
    }

    pub(super) fn tls_url(&self, database: &str) -> String {
        let (port, ca) = (self.port, self.service.folder().join("postgres/tls/ca.crt"));
        format!(
            "postgres://postgres:postgres@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={}",
            ca.display()
        )
    }
}
