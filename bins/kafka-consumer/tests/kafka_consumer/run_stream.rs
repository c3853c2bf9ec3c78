//! `just run-stream` and `just run-logins` from their start to Ctrl-C.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use tally_harness::eventually;
use tally_harness::process::{Launch, Output, Signal, binary};
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const VERY_LONG: Duration = Duration::from_mins(3);

/// The command lines of processes that name the folder or run in it.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let line = |process: std::path::PathBuf| {
        let line = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let place = fs::read_link(process.join("cwd")).unwrap_or_default();
        (line.contains(folder) || place.starts_with(folder)).then_some(line)
    };
    processes.filter_map(line).collect()
}

/// What `just` needs of a checkout whose release binaries are the ones that tests run, and a `cargo` that builds nothing.
fn built_checkout() -> TempDir {
    let binaries = [binary("kafka-consumer"), binary("producer"), binary("ml-api")];
    let folder = TempDir::new().unwrap();
    for name in ["justfile", "infra", "data"] {
        symlink(Path::new(ROOT).join(name), folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("target")).unwrap();
    symlink(binaries[0].parent().unwrap(), folder.path().join("target/release")).unwrap();
    symlink("/bin/true", folder.path().join("cargo")).unwrap();
    folder
}

/// Runs a recipe until Ctrl-C, once records have flowed for a while; everything that it has started is stopped then.
async fn until_ctrl_c(recipe: &str, flows: &str) -> Output {
    let state = TempDir::new().unwrap();
    // The server's own user must be able to enter.
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let checkout = built_checkout();
    // What listens on a default port is not ours; where another server does already, this one cannot.
    let _other_postgres = TcpListener::bind("127.0.0.1:25432");
    // In a session of its own, as a terminal's.
    let run = Launch::new("setsid").args(["just", recipe]).current_dir(checkout.path());
    let path = std::env::var("PATH").unwrap();
    let mut run = run.env("PATH", format!("{}:{path}", checkout.path().display()));
    for port in ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "PG_PORT"] {
        run = run.env(port, "0");
    }
    let stream = run.env("INFRA_STATE", state.path()).spawn();
    stream.wait_for_line(flows, VERY_LONG);
    stream.wait_for_lines(" records/s, ", 2, VERY_LONG);
    assert!(processes_of(state.path()).len() >= 2, "Kafka and Postgres run there");

    stream.signal_group(Signal::SIGINT);
    let output = stream.wait(VERY_LONG);
    assert_eq!(output.code, Some(130), "{output}");
    assert!(!output.stderr.contains("error"), "{output}");
    assert!(output.stderr.contains("stopping kafka postgres"), "{output}");
    // One that is just ending has no command line any more.
    eventually(VERY_LONG, async || processes_of(state.path()).is_empty()).await;
    output
}

/// How many records were read, written, and became dead letters.
fn counts(output: &Output) -> [u64; 3] {
    let summary = output.stderr.lines().find(|line| line.contains(" records read in ")).unwrap();
    ["records read", "written", "dead letters"].map(|word| {
        let before = summary.split(&format!(" {word}")).next().unwrap();
        before.rsplit(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
    })
}

mod serial {
    use super::*;

    #[tokio::test]
    async fn records_flow_until_ctrl_c_and_everything_is_stopped() {
        let output = until_ctrl_c("run-stream", "records flow through transactions").await;
        let [read, written, dead_letters] = counts(&output);
        assert!(read > 0 && (written, dead_letters) == (read, 0), "{output}");
    }

    #[tokio::test]
    async fn logins_flow_until_ctrl_c_which_prints_their_counts() {
        let flows = "logins flow from user-login to user-login-processed";
        let output = until_ctrl_c("run-logins", flows).await;
        let [read, written, dead_letters] = counts(&output);
        assert!(dead_letters > 0 && read == written + dead_letters, "{output}");
        let (types, rest) = output.stdout.split_once("\ntop 2 device types\n").unwrap();
        let (top, locales) = rest.split_once("\ntop 3 locales\n").unwrap();
        let counted = |section: &str| -> Vec<(String, u64)> {
            let lines = section.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let counts =
                lines.filter_map(|words| Some((words[0].to_owned(), words.get(1)?.parse().ok()?)));
            counts.collect()
        };
        let types = counted(types);
        assert_eq!(types.iter().map(|(_, count)| count).sum::<u64>(), written, "{output}");
        assert_eq!(counted(top), types[..2], "{output}");
        assert_eq!(counted(locales).len(), 3, "{output}");
    }
}
