//! What takes its time.

use std::fs;
use std::time::{Duration, Instant};

use tally_harness::eventually;
use tally_harness::process::Signal;

use crate::support::{HEADER, SOON, Scene, row};

#[tokio::test]
async fn a_rate_is_kept() {
    let rows: String = (1..=600).map(row).collect();
    let scene = Scene::new(&rows).await;
    let began = Instant::now();
    scene.ended_with(&["--rate", "200/s"], 0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_700), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn it_repeats_until_it_is_stopped_and_all_it_counts_is_there() {
    let rows: String = (1..=10).map(row).collect();
    let scene = Scene::new(&(rows + "x;CB\n")).await;
    let rejects = scene.folder.path().join("rejects.csv");
    let keep = ["--rejects", rejects.to_str().unwrap()];
    let process = scene.start(&[&["--repeat", "--rate", "1000/s"], &keep[..]].concat());
    eventually(SOON, async || scene.records().await.values().map(Vec::len).sum::<usize>() > 100)
        .await;
    process.signal(Signal::SIGINT);
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(130), "{output}");
    let (_, rest) = output.stdout.split_once("rows read, ").unwrap();
    let sent: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), sent);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\n"), "once");
}
