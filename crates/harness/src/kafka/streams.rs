use tempfile::TempDir;
use tokio::process::Child;

use super::java::spawn;

/// Kafka Streams that copies a topic exactly once, with a transaction every half a second; a process that ends with this
/// value. After a kill its successor waits some six seconds for what the dead one holds.
pub struct StreamsCopy {
    child: Child,
    _state: TempDir,
}

impl StreamsCopy {
    /// Starts it as a member of the consumer group `application`. The first start ever fetches its jars.
    pub fn start(bootstrap: &str, application: &str, from: &str, to: &str) -> Self {
        let state = TempDir::new().expect("a folder");
        let folder = state.path().to_str().expect("UTF-8");
        let child = spawn("run_streams", "Copy.java", &[bootstrap, application, from, to, folder]);
        Self { child, _state: state }
    }

    /// SIGKILL; returns when it is dead.
    pub async fn kill9(mut self) {
        self.child.kill().await.expect("a process of ours");
    }
}
