use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, process};

use tally_harness::eventually;
use tokio::net::TcpStream;

/// Starts a service by its script and unlocks its file of users: it is stopped and its folder removed.
pub async fn assert_wiped(service: &str, settings: &[(&str, &str)]) {
    let folder = env::temp_dir().join(format!("tally-watch-{service}-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    let users = File::create(folder.join("users")).unwrap();
    users.lock_shared().unwrap();
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../infra/native");
    let start = Command::new(scripts.join(format!("{service}.sh")))
        .arg("start")
        .env("INFRA_STATE", &folder)
        .envs(settings.iter().copied())
        .status()
        .unwrap();
    assert!(start.success());
    let port = fs::read_to_string(folder.join(service).join("port")).unwrap();
    let port: u16 = port.trim().parse().unwrap();

    drop(users);
    eventually(Duration::from_secs(30), async || !folder.exists()).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
