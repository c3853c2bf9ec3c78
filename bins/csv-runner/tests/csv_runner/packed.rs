//! Files that are packed, or in UTF-16.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tally_harness::job::{Job, LONG, ModelService, Target, ended_with};
use tally_harness::ledger::until_it_commits;
use tally_harness::model::RationedModel;
use tally_harness::process::Signal;
use tally_harness::sample::Sample;

use crate::support::outcome::{assert_went_on, outcome};
use crate::support::rows::dead_letters;
use crate::support::{Folder, NO_MODEL, assert_accounted, row, run, said, summary, table};

fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(content.as_ref()).unwrap();
    packed.finish().unwrap()
}

fn zstd(content: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(content.as_ref(), 3).unwrap()
}

fn utf_16(content: &str) -> Vec<u8> {
    format!("\u{feff}{content}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

async fn check_taken(target: &Target) {
    let (folder, model) = (Folder::new(), ModelService::start());
    let content = |first: u32| {
        let bad = row(first + 1).replace("RATP;", "Café;").replace("debit", "both");
        (table([first]) + &bad + &row(first + 2), bad)
    };
    let packed = |name: &str, first: u32, pack: fn(&str) -> Vec<u8>| -> PathBuf {
        folder.write(name, pack(&content(first).0))
    };
    let paths = [
        packed("a.csv.gz", 1, |text| gzip(text)),
        packed("b.csv.zst", 11, |text| zstd(text)),
        packed("c.txt", 21, utf_16),
        // Its name does not matter.
        packed("d.csv", 31, |text| gzip(utf_16(text))),
    ];
    let output = run(target, model.url(), &paths, &[]);
    assert_eq!((output.code, said(&output)), (Some(0), vec![]), "{output}");
    let taken = summary(&output);
    assert_accounted(target, &taken).await;
    assert_eq!((&taken["written"], &taken["dead_lettered"]), (&json!(8), &json!(4)));
    for (path, first) in paths.iter().zip([1, 11, 21, 31]) {
        let [letter] = dead_letters(target, path.to_str().unwrap()).await.try_into().unwrap();
        assert_eq!((letter.position, &*letter.code), (1, "side_unknown"));
        assert_eq!(letter.payload, content(first).1.trim_end().as_bytes());
        let encoding = letter.headers.iter().find(|(name, _)| name == "csv.encoding").unwrap();
        assert_eq!(encoding.1, b"UTF-8");
    }
    for (file, path) in taken["files"].as_array().unwrap().iter().zip(&paths) {
        let hash = blake3::hash(&fs::read(path).unwrap()).to_hex();
        assert_eq!(file["fingerprint"], hash.as_str());
    }
    let output = run(target, NO_MODEL, &paths, &[]);
    assert_eq!(summary(&output)["files"][3]["state"], "already_done", "{output}");
}

#[tokio::test]
async fn they_are_taken_as_plain_ones_are_sqlite() {
    check_taken(&Target::sqlite()).await;
}

#[tokio::test]
async fn they_are_taken_as_plain_ones_are_postgres() {
    check_taken(&Target::postgres().await).await;
}

/// Cut off, or with a wrong sum: what comes before is taken, and the row that stops it is named.
#[tokio::test]
async fn a_damaged_file_stops_at_its_row() {
    let (folder, model) = (Folder::new(), ModelService::start());
    let whole = gzip(table(1..=5));
    let mut wrong = whole.clone();
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    for (name, content, problem) in [
        ("cut.csv.gz", whole[..whole.len() - 8].to_vec(), "its gzip data is cut off"),
        (
            "wrong.csv.gz",
            wrong,
            "its gzip data is damaged: corrupt gzip stream does not have a matching checksum",
        ),
    ] {
        let target = Target::sqlite();
        let path = folder.write(name, content);
        let after = folder.write("after.csv", table([9]));
        let take = || run(&target, model.url(), &[&path, &after], &["--batch-size", "2"]);
        let output = take();
        assert_eq!(output.code, Some(65), "{output}");
        let message = format!(
            "ERROR DIR/{name}: {problem}; row 5 (line 7) and later ones were not used; get the file once more"
        );
        assert_eq!(folder.shown(said(&output)), std::slice::from_ref(&message));
        assert_eq!(target.number("select count(*) from transactions").await, 5);
        assert_eq!(outcome(&output), ("failed".to_owned(), 5, None));
        let ended = "select count(*) from positions where ended_at is not null";
        assert_eq!(target.number(ended).await, 0);

        let output = take();
        assert_eq!(output.code, Some(65), "{output}");
        let resuming = format!("INFO DIR/{name}: resuming at row 5");
        assert_eq!(folder.shown(said(&output)), [resuming, message]);
    }
}

/// Unpacked from its start, and then from the row at which the last run ended.
async fn kill(target: &Target, pack: impl Fn(File, File) -> io::Result<()>) {
    let (sample, model) = (Sample::spoiled(20_000, 0.05), RationedModel::start().await);
    let packed = sample.path().with_extension("packed");
    pack(File::open(sample.path()).unwrap(), File::create(&packed).unwrap()).unwrap();
    let flags = ["--batch-size=200", "--lease=200ms", "--summary=json"];
    let job = || Job::new(&target.url()).model(&model.url()).file(&packed).flags(flags);
    for _ in 0..2 {
        model.allow(10);
        let process = job().spawn();
        until_it_commits(&process, target).await;
        process.kill9();
        assert_eq!(process.wait(LONG).signal, Some(Signal::SIGKILL));
    }
    model.release();
    assert_went_on(&ended_with(&job().spawn(), 0), &sample);
    sample.check_taken(target, 1).await;
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn a_killed_run_goes_on_in_gzip() {
        let pack = |mut from: File, to: File| {
            let mut packed = GzEncoder::new(to, Compression::fast());
            io::copy(&mut from, &mut packed)?;
            packed.finish().map(drop)
        };
        kill(&Target::sqlite(), pack).await;
    }

    #[tokio::test]
    async fn a_killed_run_goes_on_in_zstd() {
        let pack = |from: File, to: File| zstd::stream::copy_encode(from, to, 3);
        kill(&Target::postgres().await, pack).await;
    }
}
