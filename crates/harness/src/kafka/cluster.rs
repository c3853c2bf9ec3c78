use std::array;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use uuid::Uuid;

use super::OwnKafka;

/// Below those that the kernel hands out by itself, as `kafka.sh` has it.
const FIRST_PORT: u128 = 20_000;
const PORTS: u128 = 10_000;

/// Three brokers of the test's own, each a controller too. Topics have a replica on each; two in sync are enough for a
/// write. Wiped like [`OwnKafka`].
pub struct Cluster {
    /// In the order of their numbers, which begin at 1.
    brokers: Vec<OwnKafka>,
}

impl Cluster {
    /// Takes some ten seconds.
    pub async fn start() -> Self {
        let ports = free_ports();
        let voters = (1..).zip(&ports).map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let cluster_id = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
        let launches = (1..).zip(&ports).map(|(id, port)| {
            OwnKafka::launch(vec![
                ("KAFKA_CLUSTER_ID", cluster_id.clone()),
                ("KAFKA_CONTROLLER_PORT", port.to_string()),
                ("KAFKA_HEAP", "256m".to_owned()),
                ("KAFKA_SETTINGS", settings(id, &voters)),
            ])
        });
        // At the same time, as each waits for most of them.
        Self { brokers: join_all(launches).await }
    }

    /// Where clients begin: all of them, comma separated.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|broker| broker.bootstrap()).collect::<Vec<_>>().join(",")
    }

    /// All of them.
    pub fn brokers(&self) -> &[OwnKafka] {
        &self.brokers
    }

    /// The broker of that number.
    pub fn broker(&self, id: i32) -> &OwnKafka {
        usize::try_from(id - 1).ok().and_then(|index| self.brokers.get(index)).expect("1, 2 or 3")
    }

    /// A new topic of a unique name, which it returns; ready for use. All brokers must be up.
    pub async fn topic(&self, partitions: i32) -> String {
        self.brokers[0].topic_with(partitions, "min.insync.replicas=2").await
    }
}

fn settings(id: i32, voters: &str) -> String {
    format!(
        "node.id={id}\n\
         controller.quorum.voters={voters}\n\
         default.replication.factor=3\n\
         offsets.topic.replication.factor=3\n\
         transaction.state.log.replication.factor=3\n\
         transaction.state.log.min.isr=2"
    )
}

/// Three different ones. Nobody holds them when this returns.
fn free_ports() -> [u16; 3] {
    let listeners: [TcpListener; 3] = array::from_fn(|_| {
        loop {
            let port = FIRST_PORT + Uuid::now_v7().as_u128() % PORTS;
            let port = u16::try_from(port).expect("a port");
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                return listener;
            }
        }
    });
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
