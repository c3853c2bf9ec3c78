//! A real S3 server, versitygw, started natively by `infra/native/s3.sh`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use uuid::Uuid;

use crate::background::blocking;
use crate::service::{Script, Service, WIPE_IDLE, shared_folder};

const SCRIPT: Script =
    Script { name: "s3.sh", cleared: &["S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_VERSION"] };

/// The key and the secret of the server's user.
pub const CREDENTIALS: [&str; 2] = ["tally", "tally-secret"];

/// The server of all test processes of this user in this checkout: nobody may stop or freeze it.
struct Server {
    url: String,
    _service: Service,
}

impl Server {
    /// Panics, saying what to install, where it cannot be started.
    async fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        blocking(|| SHARED.get_or_init(Self::start)).await
    }

    fn start() -> Self {
        let settings =
            vec![("S3_PORT", "0".to_owned()), ("S3_WIPE_IDLE", WIPE_IDLE.as_secs().to_string())];
        let service = Service::start(SCRIPT, shared_folder("s3"), settings);
        Self { url: service.run(&["url"]), _service: service }
    }
}

/// A bucket of one test.
pub struct Bucket {
    server: &'static Server,
    name: String,
}

impl Bucket {
    /// An empty one on the shared server.
    pub async fn create() -> Self {
        let server = Server::shared().await;
        let bucket = Self { server, name: format!("t-{}", Uuid::now_v7().simple()) };
        bucket.call("PUT", "", None);
        bucket
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's address.
    pub fn endpoint(&self) -> &str {
        &self.server.url
    }

    /// Writes an object.
    pub fn put(&self, key: &str, content: &[u8]) {
        self.call("PUT", key, Some(content));
    }

    /// Deletes an object.
    pub fn delete(&self, key: &str) {
        self.call("DELETE", key, None);
    }

    fn call(&self, method: &str, key: &str, content: Option<&[u8]>) {
        let url = format!("{}/{}/{key}", self.server.url, self.name);
        let mut curl = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "60"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &CREDENTIALS.join(":")])
            .args(["--request", method, "--header", "expect:"])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(content.map(|_| ["--data-binary", "@-"]).into_iter().flatten())
            .arg(&url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl");
        let mut input = curl.stdin.take().expect("a pipe");
        input.write_all(content.unwrap_or_default()).expect("curl reads");
        drop(input);
        let output = curl.wait_with_output().expect("curl ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{method} {url}: {said}");
    }
}
