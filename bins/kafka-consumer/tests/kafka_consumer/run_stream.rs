//! `just run-stream` from its start to Ctrl-C.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tally_harness::process::{Launch, Signal, binary};
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

mod serial {
    use super::*;

    #[test]
    fn records_flow_until_ctrl_c_and_everything_is_stopped() {
        let state = TempDir::new().unwrap();
        // The server's own user must be able to enter.
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let target = [binary("kafka-consumer"), binary("producer"), binary("ml-api")];
        let script = Path::new(ROOT).join("infra/native/run-stream.sh");
        let mut run = Launch::new(script).current_dir(ROOT);
        run = run.args([target[0].parent().unwrap()]).args(["data/transactions_fr.csv"]);
        for port in ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "PG_PORT"] {
            run = run.env(port, "0");
        }
        let stream = run.env("INFRA_STATE", state.path()).spawn();
        stream.wait_for_line("records flow through transactions", VERY_LONG);
        stream.wait_for_lines(" records/s, ", 2, VERY_LONG);
        assert!(processes_of(state.path()).len() >= 2, "Kafka and Postgres run there");

        stream.signal(Signal::SIGINT);
        let output = stream.wait(VERY_LONG);
        assert_eq!(output.code, Some(130), "{output}");
        let summary =
            output.stderr.lines().find(|line| line.contains(" records read in ")).unwrap();
        let count = |word: &str| -> u64 {
            let before = summary.split(&format!(" {word}")).next().unwrap();
            before.rsplit(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        assert!(
            count("records read") > 0 && count("records read") == count("written"),
            "{summary}"
        );
        assert!(output.stderr.contains("stopping kafka postgres"), "{output}");
        assert_eq!(processes_of(state.path()), Vec::<String>::new());
    }
}
