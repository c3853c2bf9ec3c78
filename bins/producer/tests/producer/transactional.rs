//! Files as transactions.

use std::fs;
use std::time::Instant;

use tally_harness::eventually;
use tally_harness::kafka::JavaProducer;
use tally_harness::process::Signal;

use crate::support::{HEADER, SOON, Scene, row};

/// How many records those see who read only committed ones.
async fn committed(scene: &Scene) -> usize {
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    let mut count = 0;
    for partition in 0..3 {
        count += java.read_all(&scene.topic, partition, true).await.len();
    }
    count
}

/// So slow that it can be interrupted.
const SLOWLY: [&str; 3] = ["--transactional", "--rate", "1000/s"];

/// Returns when something is written that nobody sees.
async fn until_written(scene: &Scene, java: &mut JavaProducer) {
    let deadline = Instant::now() + SOON;
    loop {
        let (stable, written) = java.ends(&scene.topic).await;
        assert!(stable == 0 && Instant::now() < deadline, "{stable} stable of {written}");
        if written > 0 {
            return;
        }
    }
}

fn rows(count: u32) -> String {
    (1..=count).map(row).collect()
}

#[tokio::test]
async fn a_file_with_a_row_that_cannot_be_sent_is_not_sent_and_the_others_are() {
    let scene = Scene::new(&(rows(30) + "x;CB\n")).await;
    let other = scene.folder.path().join("other.csv");
    fs::write(&other, format!("{HEADER}{}", rows(20))).unwrap();
    let flags = [other.to_str().unwrap(), "--transactional"];
    let output = scene.ended_with(&flags, 65);
    let nothing = "rows.csv: not sent: 1 of its rows cannot be sent";
    assert!(output.stderr.contains(nothing), "{output}");
    assert!(output.stdout.contains("51 rows read, 20 sent"), "{output}");
    assert!(output.stdout.contains("not sent: aborted"), "{output}");
    assert_eq!(committed(&scene).await, 20);

    let rejects = scene.folder.path().join("rejects.csv");
    let flags = ["--transactional", "--rejects", rejects.to_str().unwrap()];
    let output = scene.ended_with(&flags, 65);
    assert!(output.stdout.contains("31 rows read, 30 sent"), "{output}");
    assert_eq!(committed(&scene).await, 50);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\n"));
}

#[tokio::test]
async fn a_producer_that_is_killed_leaves_nothing_and_the_next_one_sends_all() {
    const ROWS: u32 = 30_000;
    let scene = Scene::new(&rows(ROWS)).await;
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    let killed = scene.start(&SLOWLY);
    until_written(&scene, &mut java).await;
    killed.kill9();
    let output = scene.ended_with(&["--transactional"], 0);
    assert!(output.stdout.contains(&format!("{ROWS} rows read, {ROWS} sent")), "{output}");
    assert_eq!(committed(&scene).await, ROWS as usize);
}

#[tokio::test]
async fn a_producer_that_is_stopped_leaves_nothing() {
    let scene = Scene::new(&rows(30_000)).await;
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    let stopped = scene.start(&SLOWLY);
    until_written(&scene, &mut java).await;
    stopped.signal(Signal::SIGINT);
    let output = stopped.wait(SOON);
    assert_eq!(output.code, Some(130), "{output}");
    assert!(output.stdout.contains(" 0 sent"), "{output}");
    let (stable, written) = java.ends(&scene.topic).await;
    assert!(stable == written, "{stable} of {written}: it is left open");
    assert_eq!(committed(&scene).await, 0);
}

#[tokio::test]
async fn a_second_producer_excludes_the_first() {
    let scene = Scene::new(&rows(30_000)).await;
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    let first = scene.start(&SLOWLY);
    until_written(&scene, &mut java).await;
    let second = scene.folder.path().join("second.csv");
    fs::write(&second, format!("{HEADER}{}", rows(10))).unwrap();
    let output = scene.start_file(&second, &["--transactional"]).wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let output = first.wait(SOON);
    assert_eq!(output.code, Some(75), "{output}");
    assert!(
        output.stderr.contains("another producer with the same transactional id has begun"),
        "{output}"
    );
    eventually(SOON, async || committed(&scene).await == 10).await;
}
