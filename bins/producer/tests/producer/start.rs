//! What is wrong, or said to the brokers, before the first record.

use std::fs;
use std::io::Read;
use std::net::TcpListener;

use tally_harness::process::Launch;
use tempfile::TempDir;

use crate::support::{HEADER, Scene, row};

#[tokio::test]
async fn what_is_wrong_before_the_first_record_is_said_at_once() {
    let mut scene = Scene::new(&row(1)).await;
    let output = scene.ended_with(&["--format", "avro"], 78);
    assert!(output.stderr.contains("SCHEMA_REGISTRY_URL"), "{output}");
    scene.ended_with(&["--rate", "0"], 2);
    scene.topic.push('x');
    let output = scene.ended_with(&[], 78);
    assert!(output.stderr.contains("has no topic"), "{output}");
    fs::write(scene.path(), "").unwrap();
    scene.ended_with(&[], 66);
    fs::remove_file(scene.path()).unwrap();
    scene.ended_with(&[], 66);
}

/// Each request says who asks.
#[test]
fn brokers_are_told_the_client_id() {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rows.csv");
    fs::write(&path, format!("{HEADER}{}", row(1))).unwrap();
    let producer = Launch::new(env!("CARGO_BIN_EXE_producer"))
        .args([path.to_str().unwrap(), "--brokers", &broker.local_addr().unwrap().to_string()])
        .env("TALLY_KAFKA__CLIENT_ID", "ledger-of-ann")
        .spawn();
    let (mut connection, _) = broker.accept().unwrap();
    let mut request = [0; 27];
    // Size, kind, version and number of the request; then the id and its length.
    connection.read_exact(&mut request).unwrap();
    assert_eq!(&request[12..], b"\0\x0dledger-of-ann");
    producer.kill9();
}
