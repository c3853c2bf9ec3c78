//! The real Kafka Connect with Debezium, started natively by `infra/native/connect.sh`.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::background::blocking;
use crate::postgres::OwnPostgres;
use crate::service::{Script, Service, own_folder};

const SCRIPT: Script =
    Script { name: "connect.sh", cleared: &["DEBEZIUM_VERSION", "KAFKA_VERSION"] };

/// A worker of the test's own on any broker; wiped with this value, and a few seconds after the test is killed. Its sources
/// write exactly once.
pub struct Connect {
    service: Arc<Service>,
}

impl Connect {
    /// Takes some ten seconds. Panics, saying what to install, where it cannot be started.
    pub async fn start(bootstrap: &str) -> Self {
        let settings = vec![
            ("CONNECT_PORT", "0".to_owned()),
            ("CONNECT_HEAP", "256m".to_owned()),
            ("CONNECT_KAFKA", bootstrap.to_owned()),
            ("CONNECT_GROUP", format!("connect-{}", Uuid::now_v7().simple())),
            ("CONNECT_WIPE_IDLE", "0".to_owned()),
        ];
        let start = || Service::start(SCRIPT, own_folder(), settings);
        Self { service: Arc::new(blocking(start).await) }
    }

    /// Creates or changes a connector; returns when it runs.
    pub async fn put(&self, name: &str, settings: &Value) {
        // Where a wipe removes it.
        let path = self.service.folder().join(format!("connect/{name}.json"));
        fs::write(&path, settings.to_string()).expect("write the connector's settings");
        let (service, name) = (Arc::clone(&self.service), name.to_owned());
        blocking(move || service.run(&["put", &name, path.to_str().expect("UTF-8")])).await;
    }

    /// SIGKILL; returns when it is dead. [`start_again`](Self::start_again) then takes some six seconds more, until the
    /// dead one's session has run out.
    pub async fn kill9(&self) {
        self.service.kill9("connect/pid").await;
    }

    /// Up again with its connectors.
    pub async fn start_again(&self) {
        let service = Arc::clone(&self.service);
        blocking(move || service.run(&["start"])).await;
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        self.service.wipe();
    }
}

/// Debezium's connector of one table of a server that is [`logical`](OwnPostgres::logical). It writes changes to the topic
/// `PREFIX.public.TABLE`, exactly once, and decimals as texts.
pub fn debezium(source: &OwnPostgres, prefix: &str, table: &str) -> Value {
    json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "exactly.once.support": "required",
        "database.hostname": source.addr().ip().to_string(),
        "database.port": source.addr().port().to_string(),
        "database.user": "postgres",
        "database.password": "postgres",
        "database.dbname": "tally",
        "plugin.name": "pgoutput",
        "publication.autocreate.mode": "filtered",
        "table.include.list": format!("public.{table}"),
        "topic.prefix": prefix,
        "decimal.handling.mode": "string",
        // The slot of a connector that was killed is free when the server has noticed.
        "slot.max.retries": "30",
        "slot.retry.delay.ms": "1000",
    })
}
