//! A file that changes under the reader.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tally_adapter_csv::{CsvFile, CsvSource, Settings};
use tally_ports::{Fault, Source, Stop, StopKind};
use tempfile::NamedTempFile;

use crate::support::{file_of, next, open};

const ROWS: usize = 200_000;

/// A file much larger than what is read ahead, and a source after its first batch.
async fn begun() -> (NamedTempFile, CsvFile, CsvSource) {
    let temporary = file_of(format!("id;amount;text\n{}", "1;2;a\n".repeat(ROWS)));
    let file = open(&temporary, &Settings::default()).await;
    let mut source = file.read_from(0, &Value::Null).await.unwrap();
    assert_eq!(next(&mut source, 10).await.unwrap().items.len(), 10);
    (temporary, file, source)
}

async fn check(temporary: &NamedTempFile, source: &mut CsvSource, change: &str) {
    for _ in 0..2 {
        let fault = source.next_batch(10).await.unwrap_err();
        let path = temporary.path().display();
        let message = format!(
            "{path} changed while it was read: {change}; row 10 (line 12) and later ones were not used; \
             start again once it is complete"
        );
        assert_eq!(fault, Fault::Stop(Stop { kind: StopKind::Data, message }));
    }
}

fn writable(temporary: &NamedTempFile) -> File {
    OpenOptions::new().write(true).open(temporary.path()).unwrap()
}

#[tokio::test]
async fn appended_to() {
    let (temporary, _file, mut source) = begun().await;
    OpenOptions::new().append(true).open(temporary.path()).unwrap().write_all(b"2;3;b\n").unwrap();
    check(&temporary, &mut source, "it had 1200015 bytes, now 1200021").await;
}

#[tokio::test]
async fn written_over_in_place() {
    let (temporary, _file, mut source) = begun().await;
    let file = writable(&temporary);
    file.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
    check(&temporary, &mut source, "somebody wrote to it").await;
}

#[tokio::test]
async fn cut_off() {
    let (temporary, _file, mut source) = begun().await;
    writable(&temporary).set_len(600_000).unwrap();
    check(&temporary, &mut source, "it had 1200015 bytes, now 600000").await;
}

#[tokio::test]
async fn cut_off_behind_what_was_read_ahead() {
    let (temporary, _file, mut source) = begun().await;
    let mut rows = 10;
    while rows < ROWS / 2 {
        rows += next(&mut source, 1000).await.unwrap().items.len();
    }
    writable(&temporary).set_len(300_000).unwrap();
    let fault = source.next_batch(usize::MAX).await.unwrap_err();
    let Fault::Stop(stop) = fault else { panic!("{fault:?}") };
    assert_eq!(stop.kind, StopKind::Data);
    assert!(
        stop.message
            .contains(&format!("now 300000; row {rows} (line {}) and later ones", rows + 2)),
        "{stop}"
    );
}

#[tokio::test]
async fn changed_after_the_last_row() {
    let temporary = file_of("id;amount;text\n1;2;a\n");
    let file = open(&temporary, &Settings::default()).await;
    let mut source = file.read_from(0, &Value::Null).await.unwrap();
    assert_eq!(next(&mut source, 10).await.unwrap().items.len(), 1);
    OpenOptions::new().append(true).open(temporary.path()).unwrap().write_all(b"2;3;b\n").unwrap();
    let fault = source.next_batch(10).await.unwrap_err();
    assert!(matches!(fault, Fault::Stop(Stop { kind: StopKind::Data, .. })), "{fault:?}");
}

#[tokio::test]
async fn replaced_by_another_file() {
    let (temporary, _file, mut source) = begun().await;
    let other = file_of("id;amount;text\n9;9;z\n");
    std::fs::rename(other.path(), temporary.path()).unwrap();
    let mut rows = 10;
    while let Some(batch) = next(&mut source, 10_000).await {
        rows += batch.items.len();
    }
    assert_eq!(rows, ROWS);
}

#[tokio::test]
async fn the_fingerprint_is_of_all_bytes() {
    let content = format!("id;amount;text\n{}", "1;2;a\n".repeat(ROWS));
    let temporary = file_of(&content);
    let file = open(&temporary, &Settings::default()).await;
    let expected = blake3::hash(content.as_bytes()).to_hex().to_string();
    assert_eq!(file.fingerprint().await.unwrap(), expected);
    writable(&temporary).set_len(600_000).unwrap();
    let Err(Fault::Stop(stop)) = file.fingerprint().await else { panic!("no stop") };
    assert_eq!(stop.kind, StopKind::Data);
    let path = temporary.path().display();
    assert_eq!(
        stop.message,
        format!(
            "{path} changed while it was read: it had 1200015 bytes, now 600000; nothing of it was used yet; \
             start again once it is complete"
        )
    );
}
