//! A folder that is watched: each file once by content.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tally_harness::eventually;
use tally_harness::job::{LONG, Target, ended_with};
use tally_harness::process::{Launch, Process, Signal, binary};
use tempfile::TempDir;

use crate::support::{address, get};

/// Each of these on either store.
macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod postgres {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Target::postgres().await).await; })*
        }
        mod sqlite {
            use super::*;
            $(#[tokio::test] async fn $test() { super::$test(Target::sqlite()).await; })*
        }
    };
}

on_both_stores! {
    each_file_is_taken_once_by_content
    what_fails_is_tried_again_and_what_is_rejected_is_not
    a_kill_resumes_at_the_row
    two_watchers_share_a_folder
}

const HEADER: &str = "organization_id,insolvency_ts\n";

/// A folder and the database that its files go into.
struct Place {
    folder: TempDir,
    target: Target,
}

impl Place {
    fn new(target: Target) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), target }
    }

    fn launch(&self, flags: &[&str]) -> Launch {
        Launch::new(binary("csv-runner"))
            .args(["--flow", "insolvencies", "--database-url", &self.target.url()])
            .args(["--lease=500ms", "--watch"])
            .args([self.folder.path()])
            .args(flags)
            .env("TALLY_BATCH_SIZE", "100")
            .env("TALLY_WATCH__SETTLE", "200ms")
            .env("TALLY_WATCH__POLL", "50ms")
            .env("TALLY_WATCH__RETRY", "1s")
            .env("LOG_FORMAT", "pretty")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of so many organisations, whose ids begin with this word.
    fn write(&self, name: &str, word: &str, rows: usize) {
        fs::write(self.path(name), content(word, rows)).unwrap();
    }

    /// Name, state and attempts of each file, and why it is so.
    async fn files(&self) -> Vec<[String; 4]> {
        if self.target.number(&self.tables()).await == 0 {
            return Vec::new();
        }
        let sql = "select name, state, attempts, message from files order by name, first_seen_at";
        let rows = self.target.query(sql).await.into_iter();
        rows.map(|row| {
            let texts: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
            texts.try_into().unwrap()
        })
        .collect()
    }

    /// How many tables of files there are.
    fn tables(&self) -> String {
        match self.target {
            Target::Postgres(_) => {
                "select count(*) from pg_tables where tablename = 'files'".to_owned()
            }
            Target::Sqlite(_) => {
                "select count(*) from sqlite_schema where name = 'files'".to_owned()
            }
        }
    }

    async fn until(&self, name: &str, state: &str, number: usize) {
        eventually(LONG, async || {
            let files = self.files().await;
            files.iter().filter(|file| file[0] == name && file[1] == state).count() == number
        })
        .await;
    }

    async fn until_done(&self, names: &[&str]) {
        for name in names {
            self.until(name, "done", 1).await;
        }
    }

    /// So many rows were read, in one pass each.
    async fn check_read(&self, rows: usize) {
        let read = self.target.number("select coalesce(sum(read), 0) from batches").await;
        assert_eq!(read, i64::try_from(rows).unwrap());
        assert_eq!(self.target.number("select count(*) from positions where pass > 1").await, 0);
        let audit = Launch::new(binary("audit")).args(["--database-url", &self.target.url()]);
        ended_with(&audit.spawn(), 0);
    }
}

fn content(word: &str, rows: usize) -> String {
    let mut content = HEADER.to_owned();
    for row in 0..rows {
        writeln!(content, "{word}-{row},2024-01-31").unwrap();
    }
    content
}

#[track_caller]
fn stop(watcher: &Process) -> String {
    watcher.signal(Signal::SIGTERM);
    let output = watcher.wait(LONG);
    assert_eq!(output.code, Some(143), "{output}");
    output.stderr
}

async fn each_file_is_taken_once_by_content(target: Target) {
    let place = Place::new(target);
    place.write("a.csv", "a", 150);
    place.write("b.csv", "b", 3);
    let watcher = place.launch(&[]).spawn();
    place.until_done(&["a.csv", "b.csv"]).await;
    // The same bytes under another name, under the same one, and other bytes under the same one.
    fs::rename(place.path("a.csv"), place.path("c.csv")).unwrap();
    place.until("c.csv", "same", 1).await;
    fs::copy(place.path("b.csv"), place.path("d.csv")).unwrap();
    place.until("d.csv", "same", 1).await;
    File::options()
        .append(true)
        .open(place.path("b.csv"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    place.until("b.csv", "same", 1).await;
    place.write("b.csv", "new", 5);
    place.until("b.csv", "done", 2).await;
    let log = stop(&watcher);
    let said = |text: &str| assert!(log.contains(text), "{text} in {log}");
    said("a.csv: done, 150 rows read, 0 dead letters");
    said("c.csv is skipped: the same bytes as a.csv");
    said("d.csv is skipped: the same bytes as b.csv");
    said("b.csv has other bytes than before under the same name: it is read as a new file");
    assert!(!log.contains("b.csv is skipped"), "{log}");
    let files = place.files().await;
    let short: Vec<String> = files
        .iter()
        .map(|[name, state, attempts, why]| format!("{name} {state} {attempts} {why}"))
        .collect();
    let expected = [
        "a.csv done 1 ",
        "b.csv done 1 ",
        "b.csv same 0 the same bytes as b.csv",
        "b.csv done 1 ",
        "c.csv same 0 the same bytes as a.csv",
        "d.csv same 0 the same bytes as b.csv",
    ];
    assert_eq!(short, expected);
    place.check_read(158).await;

    // What was read before the place was watched is not read again.
    let elsewhere = Place { folder: tempfile::tempdir().unwrap(), ..place };
    elsewhere.write("e.csv", "a", 150);
    let watcher = elsewhere.launch(&[]).spawn();
    elsewhere.until("e.csv", "same", 1).await;
    stop(&watcher);
    elsewhere.check_read(158).await;
}

async fn what_fails_is_tried_again_and_what_is_rejected_is_not(target: Target) {
    let place = Place::new(target);
    fs::write(place.path("bad.csv"), "x,y\n1,2\n").unwrap();
    fs::write(place.path("empty.csv"), "").unwrap();
    fs::write(place.path("refused.csv"), content("r", 30).replace("2024-01-31", "never")).unwrap();
    place.write("good.csv", "g", 2);
    let watcher = place.launch(&[]).spawn();
    let attempts = async |name: &str| -> i64 {
        let files = place.files().await;
        files
            .iter()
            .filter(|file| file[0] == name)
            .map(|file| file[2].parse::<i64>().unwrap())
            .sum()
    };
    eventually(LONG, async || attempts("bad.csv").await >= 3).await;
    place.until_done(&["good.csv"]).await;
    assert_eq!(attempts("refused.csv").await, 1);
    let files = place.files().await;
    let of = |name: &str| files.iter().find(|file| file[0] == name).unwrap();
    assert_eq!(of("bad.csv")[1], "failed");
    assert!(of("bad.csv")[3].contains("organization_id"), "{files:?}");
    assert!(of("empty.csv")[3].ends_with("empty.csv is empty"), "{files:?}");
    assert_eq!(of("refused.csv")[1], "rejected");
    assert!(of("refused.csv")[3].contains("30"), "{files:?}");
    // Its bytes are not read under another name either.
    fs::rename(place.path("refused.csv"), place.path("again.csv")).unwrap();
    place.until("again.csv", "same", 1).await;
    place.write("bad.csv", "b", 4);
    place.until_done(&["bad.csv"]).await;
    let log = stop(&watcher);
    assert!(log.contains("; it is tried again in 1 s, or once it changes"), "{log}");
    assert!(log.contains("; it is tried again in 4 s, or once it changes"), "{log}");
    assert!(
        log.contains("again.csv is skipped: the same bytes as refused.csv, which was rejected"),
        "{log}"
    );
    place.check_read(36).await;
}

async fn a_kill_resumes_at_the_row(target: Target) {
    let place = Place::new(target);
    place.write("a.csv", "a", 2_000);
    let killed = place.launch(&[]).env("FAILPOINT", "commit-after:kill:5").spawn();
    assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
    let files = place.files().await;
    assert_eq!((&*files[0][1], &*files[0][2]), ("reading", "1"));
    let watcher = place.launch(&[]).spawn();
    place.until_done(&["a.csv"]).await;
    let log = stop(&watcher);
    assert!(log.contains("a.csv: resuming at row 500"), "{log}");
    place.check_read(2_000).await;

    // All of it is committed, and that it was is not noted.
    place.target.execute("update files set state = 'reading'").await;
    let watcher = place.launch(&[]).spawn();
    place.until_done(&["a.csv"]).await;
    stop(&watcher);
    place.check_read(2_000).await;
}

async fn two_watchers_share_a_folder(target: Target) {
    const FILES: usize = 30;
    const ROWS: usize = 1_500;
    let place = Place::new(target);
    for file in 0..FILES {
        place.write(&format!("{file}.csv"), &file.to_string(), ROWS);
    }
    let watchers = [(); 2].map(|()| place.launch(&[]).spawn());
    eventually(LONG, async || {
        let files = place.files().await;
        files.iter().filter(|file| file[1] == "done").count() == FILES
    })
    .await;
    for watcher in &watchers {
        stop(watcher);
    }
    place.check_read(FILES * ROWS).await;
    assert_eq!(place.target.number("select count(distinct worker) from batches").await, 2);
}

#[tokio::test]
async fn a_file_is_complete_once_it_is_unchanged() {
    let place = Place::new(Target::sqlite());
    let watcher = place.launch(&[]).env("TALLY_WATCH__SETTLE", "3s").spawn();
    let mut file = File::create(place.path("slow.csv")).unwrap();
    for part in content("s", 100).as_bytes().chunks(40) {
        std::io::Write::write_all(&mut file, part).unwrap();
        // A writer that takes its time, and no state that is waited for.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    place.until_done(&["slow.csv"]).await;
    stop(&watcher);
    assert_eq!(place.files().await.len(), 1);
    place.check_read(100).await;
}

#[tokio::test]
async fn a_marker_says_that_a_file_is_complete() {
    let place = Place::new(Target::sqlite());
    place.write("first.csv", "f", 3);
    place.write("second.csv", "s", 3);
    fs::write(place.path("second.csv.done"), "").unwrap();
    let launch = place.launch(&[]).env("TALLY_WATCH__DONE_MARKER", "true");
    let watcher = launch.env("TALLY_WATCH__SETTLE", "1h").spawn();
    place.until_done(&["second.csv"]).await;
    // The first one came before it, and waits.
    assert_eq!(place.files().await.len(), 1);
    fs::write(place.path("first.csv.done"), "").unwrap();
    place.until_done(&["first.csv"]).await;
    stop(&watcher);
    assert_eq!(place.files().await.len(), 2);
}

#[tokio::test]
async fn files_are_taken_in_the_order_of_their_modification() {
    let place = Place::new(Target::sqlite());
    for (name, seconds) in
        [("a.csv", 3), ("b.csv", 1), ("c.csv", 2), ("note.txt", 0), (".hidden.csv", 0)]
    {
        place.write(name, name, 3);
        let file = File::options().append(true).open(place.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    fs::create_dir(place.path("inner.csv")).unwrap();
    let watcher = place.launch(&["--pattern", "*.csv"]).spawn();
    place.until_done(&["a.csv"]).await;
    let log = stop(&watcher);
    let done: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(".csv: done")?.0.rsplit('/').next())
        .collect();
    assert_eq!(done, ["b", "c", "a"]);
    assert_eq!(place.files().await.len(), 3);
}

#[tokio::test]
async fn metrics_count_files_and_say_whether_one_is_late() {
    let place = Place::new(Target::sqlite());
    let watcher = place.launch(&["--expect-by", "00:00"]).env("TALLY_WATCH__SETTLE", "1s").spawn();
    watcher.wait_for_line("no new file was done today, and one is expected by 00:00:00 UTC", LONG);
    let address = address(&watcher);
    let folder = place.folder.path().canonicalize().unwrap();
    let label = format!("flow=\"insolvencies\",place=\"{}\"", folder.display());
    let shows = async |name: &str, state: Option<&str>, value: &str| {
        let state = state.map(|state| format!(",state=\"{state}\"")).unwrap_or_default();
        let line = format!("{name}{{{label}{state}}} {value}\n");
        eventually(LONG, async || get(&address, "/metrics").1.contains(&line)).await;
    };
    shows("ingest_files_late", None, "1").await;
    place.write("a.csv", "a", 3);
    fs::write(place.path("b.csv"), "nothing").unwrap();
    shows("ingest_files", Some("waiting"), "2").await;
    shows("ingest_files", Some("done"), "1").await;
    shows("ingest_files", Some("failed"), "1").await;
    shows("ingest_files", Some("waiting"), "0").await;
    shows("ingest_files_late", None, "0").await;
    let (_, metrics) = get(&address, "/metrics");
    let age =
        metrics.lines().find(|line| line.starts_with("ingest_newest_file_age_seconds{")).unwrap();
    let age: f64 = age.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");
    stop(&watcher);
}

#[tokio::test]
async fn a_folder_that_is_gone_for_a_while_is_looked_at_again() {
    let place = Place::new(Target::sqlite());
    let watcher = place.launch(&[]).spawn();
    watcher.wait_for_line("watching ", LONG);
    let aside = place.folder.path().with_extension("aside");
    fs::rename(place.folder.path(), &aside).unwrap();
    watcher.wait_for_line("cannot look at the folder ", LONG);
    fs::rename(&aside, place.folder.path()).unwrap();
    watcher.wait_for_line(" can be looked at again", LONG);
    place.write("a.csv", "a", 3);
    place.until_done(&["a.csv"]).await;
    stop(&watcher);
}

#[test]
fn what_cannot_be_watched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |flags: &[&str], code: i32, text: &str| {
        let launch = Launch::new(binary("csv-runner")).current_dir(folder.path());
        let output = ended_with(&launch.args(["--flow", "insolvencies"]).args(flags).spawn(), code);
        assert!(output.stderr.contains(text), "{text} in {output}");
    };
    fs::write(folder.path().join("file"), "").unwrap();
    said(&["--watch", "nowhere"], 66, "the folder nowhere does not exist: make it first");
    said(&["--watch", "file"], 66, "file is no folder: name the one that files appear in");
    said(&["--watch", ".", "--expect-by", "7"], 2, "expected a time like 07:00");
    said(&["--watch", ".", "--pattern", "["], 2, "invalid value '['");
    said(&["--pattern", "*"], 2, "--watch <PLACE>");
    said(&["--watch", ".", "a.csv"], 2, "cannot be used with");
    said(&["--watch", ".", "--dry-run"], 2, "cannot be used with");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no database");
}

mod s3 {
    use tally_harness::s3::{Bucket, CREDENTIALS};

    use super::*;

    fn watch(launch: Launch, bucket: &Bucket, prefix: &str) -> Launch {
        let [key, secret] = CREDENTIALS;
        launch
            .args(["--flow", "insolvencies", "--lease=500ms"])
            .args(["--watch".to_owned(), format!("s3://{}/{prefix}", bucket.name())])
            .env("AWS_ENDPOINT_URL", bucket.endpoint())
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "us-east-1")
            .env("TALLY_BATCH_SIZE", "100")
            .env("TALLY_WATCH__SETTLE", "200ms")
            .env("TALLY_WATCH__POLL", "50ms")
            .env("TALLY_WATCH__RETRY", "1s")
            .env("LOG_FORMAT", "pretty")
    }

    fn launch(place: &Place, bucket: &Bucket) -> Launch {
        let launch =
            Launch::new(binary("csv-runner")).args(["--database-url", &place.target.url()]);
        watch(launch, bucket, "in/")
    }

    #[tokio::test]
    async fn objects_are_taken_once_by_content_and_a_kill_resumes_at_the_row() {
        let (place, bucket) = (Place::new(Target::sqlite()), Bucket::create().await);
        bucket.put("in/a.csv", content("a", 2_000).as_bytes());
        bucket.put("in/day/b.csv", content("b", 3).as_bytes());
        bucket.put("other/c.csv", content("c", 3).as_bytes());
        let killed = launch(&place, &bucket).env("FAILPOINT", "commit-after:kill:5").spawn();
        assert_eq!(killed.wait(LONG).signal, Some(Signal::SIGKILL));
        let watcher = launch(&place, &bucket).spawn();
        place.until_done(&["a.csv", "day/b.csv"]).await;
        bucket.put("in/copy.csv", content("b", 3).as_bytes());
        place.until("copy.csv", "same", 1).await;
        bucket.put("in/a.csv", content("new", 4).as_bytes());
        place.until("a.csv", "done", 2).await;
        let log = stop(&watcher);
        let url = format!("s3://{}/in", bucket.name());
        for said in [
            format!("watching {url}"),
            format!("{url}/a.csv: resuming at row "),
            format!("{url}/copy.csv is skipped: the same bytes as day/b.csv"),
            format!("{url}/a.csv has other bytes than before under the same name"),
        ] {
            assert!(log.contains(&said), "{said} in {log}");
        }
        assert_eq!(place.files().await.len(), 4);
        place.check_read(2_007).await;
    }

    /// What is larger than what is asked for at once, while the process may hold much less than that.
    #[tokio::test]
    async fn a_large_object_is_read_by_ranges() {
        let (place, bucket) = (Place::new(Target::sqlite()), Bucket::create().await);
        let padding = "x".repeat(1_000);
        let mut content = "organization_id,insolvency_ts,note\n".to_owned();
        for row in 0..250_000 {
            writeln!(content, "o-{row},2024-01-31,{padding}").unwrap();
        }
        bucket.put("in/large.csv", content.as_bytes());
        let watcher = launch(&place, &bucket).env("TALLY_BATCH_SIZE", "500").spawn();
        eventually(Duration::from_mins(2), async || {
            place.files().await.iter().any(|file| file[1] == "done")
        })
        .await;
        let status = fs::read_to_string(format!("/proc/{}/status", watcher.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: usize = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        stop(&watcher);
        place.check_read(250_000).await;
        assert!(peak < 140 * 1024, "{peak} KiB for an object of {} KiB", content.len() / 1024);
    }

    #[tokio::test]
    async fn an_object_that_changes_while_it_is_read_stops_loudly() {
        let (place, bucket) = (Place::new(Target::sqlite()), Bucket::create().await);
        bucket.put("in/a.csv", content("a", 3_000).as_bytes());
        let frozen = launch(&place, &bucket).env("FAILPOINT", "commit-after:stop:3").spawn();
        frozen.until_frozen().await;
        bucket.put("in/a.csv", content("b", 3_000).as_bytes());
        frozen.signal(Signal::SIGCONT);
        frozen.wait_for_line("a.csv changed while it was read: its ETag was ", LONG);
        place.until_done(&["a.csv"]).await;
        let log = stop(&frozen);
        assert!(log.contains("a.csv has other bytes than before under the same name"), "{log}");
        let states: Vec<[String; 4]> = place.files().await;
        assert_eq!((&*states[0][1], &*states[1][1]), ("failed", "done"), "{states:?}");
        let of_new = "select count(*) from insolvencies where organization_id like 'b-%'";
        assert_eq!(place.target.number(of_new).await, 3_000);
    }

    #[tokio::test]
    async fn a_bucket_that_cannot_be_listed_is_said() {
        let bucket = Bucket::create().await;
        let folder = tempfile::tempdir().unwrap();
        let said = |launch: Launch, texts: &[&str]| {
            let output = ended_with(&launch.current_dir(folder.path()).spawn(), 66);
            for text in texts {
                assert!(output.stderr.contains(text), "{text} in {output}");
            }
            assert!(!output.stderr.contains(CREDENTIALS[1]), "{output}");
        };
        let launch = || watch(Launch::new(binary("csv-runner")), &bucket, "in");
        said(
            launch().env("AWS_SECRET_ACCESS_KEY", "wrong"),
            &["cannot be watched", "SignatureDoesNotMatch"],
        );
        let nowhere =
            Launch::new(binary("csv-runner")).args(["--flow", "insolvencies", "--watch", "s3://"]);
        said(nowhere, &["it names no bucket; write s3://BUCKET/PREFIX"]);
        let away = launch().env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        said(away, &["cannot be watched"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no database");
    }
}

mod repeated {
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::path::Path;
    use std::thread;

    use fastrand::Rng;

    use super::*;

    const FILES: usize = 100;

    /// Writes the files one after the other, a part now and a part later; renames, rewrites, deletes, touches and copies some.
    /// What each content that is there at the end, or was complete for a while, has as its first id.
    fn write(folder: &Path, mut random: Rng) -> BTreeSet<String> {
        let mut contents = BTreeSet::new();
        let pause = |random: &mut Rng| thread::sleep(Duration::from_millis(random.u64(..40)));
        for number in 0..FILES {
            let path = folder.join(format!("{number}.csv"));
            let rows = 1 + random.usize(..300);
            let content = content(&format!("o{number}"), rows);
            let mut file = File::create(&path).unwrap();
            for part in content.as_bytes().chunks(content.len() / 3 + 1) {
                file.write_all(part).unwrap();
                pause(&mut random);
            }
            drop(file);
            contents.insert(format!("o{number}-0"));
            let of = |number: usize| folder.join(format!("{number}.csv"));
            let other = of(random.usize(..=number));
            // Of one that is being renamed or gone nothing is done.
            match random.u8(..8) {
                0 => drop(fs::rename(&other, folder.join(format!("renamed-{number}.csv")))),
                1 => drop(fs::copy(&other, folder.join(format!("copy-{number}.csv")))),
                2 => {
                    if let Ok(file) = File::options().append(true).open(&other) {
                        file.set_modified(SystemTime::now()).unwrap();
                    }
                }
                3 => {
                    fs::write(&path, super::content(&format!("rewritten{number}"), rows)).unwrap();
                    contents.insert(format!("rewritten{number}-0"));
                }
                4 => fs::remove_file(&path).unwrap(),
                _ => {}
            }
        }
        contents
    }

    async fn ten_kills(target: Target) {
        let seed = std::env::var("CRASH_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("CRASH_SEED={seed}");
        let mut random = Rng::with_seed(seed);
        let place = Place::new(target);
        let launch =
            || place.launch(&[]).env("TALLY_BATCH_SIZE", "20").env("TALLY_WATCH__SETTLE", "500ms");
        let (folder, of_writer) = (place.folder.path().to_owned(), random.fork());
        let writer = thread::spawn(move || write(&folder, of_writer));
        for _ in 0..10 {
            let watcher = launch().spawn();
            watcher.wait_for_line("watching ", LONG);
            tokio::time::sleep(Duration::from_millis(200 + random.u64(..600))).await;
            watcher.kill9();
            assert_eq!(watcher.wait(LONG).signal, Some(Signal::SIGKILL));
        }
        let watcher = launch().spawn();
        let written = writer.join().unwrap();
        // What is there now.
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(place.folder.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            there.insert(text.lines().nth(1).unwrap().split(',').next().unwrap().to_owned());
        }
        assert!(there.len() > FILES / 2 && there.is_subset(&written));
        let done = "select count(*) from insolvencies where organization_id like '%-0'";
        eventually(LONG, async || {
            let taken = place.target.query("select organization_id from insolvencies").await;
            let taken: BTreeSet<String> =
                taken.into_iter().map(|row| row[0].clone().unwrap()).collect();
            there.is_subset(&taken)
        })
        .await;
        eventually(LONG, async || {
            let open = "select count(*) from files where state in ('reading', 'failed')";
            let gone = place
                .files()
                .await
                .iter()
                .filter(|file| {
                    matches!(&*file[1], "reading" | "failed") && !place.path(&file[0]).exists()
                })
                .count();
            place.target.number(open).await == i64::try_from(gone).unwrap()
        })
        .await;
        stop(&watcher);
        // Each content once: as many rows as there are ids, in one pass each.
        let rows = place.target.number("select count(*) from insolvencies").await;
        assert!(place.target.number(done).await >= i64::try_from(there.len()).unwrap());
        assert_eq!(place.target.number("select sum(read) from batches").await, rows);
        place.check_read(usize::try_from(rows).unwrap()).await;
        assert_eq!(place.target.number("select count(*) from dead_letters").await, 0);
    }

    #[tokio::test]
    async fn a_hundred_files_and_ten_kills_sqlite() {
        ten_kills(Target::sqlite()).await;
    }

    #[tokio::test]
    async fn a_hundred_files_and_ten_kills_postgres() {
        ten_kills(Target::postgres().await).await;
    }
}
