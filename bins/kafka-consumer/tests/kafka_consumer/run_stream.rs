//! `just run-stream` and `just run-logins` from their start to Ctrl-C, and `just run-companies` to its end.

use std::net::TcpListener;
use std::time::Duration;

use tally_harness::checkout::Checkout;
use tally_harness::eventually;
use tally_harness::process::{Output, Signal};

const VERY_LONG: Duration = Duration::from_mins(3);

/// Runs a recipe until Ctrl-C, once records have flowed for a while; everything that it has started is stopped then.
async fn until_ctrl_c(recipe: &str, flows: &str) -> Output {
    let checkout = Checkout::built(&["kafka-consumer", "producer", "ml-api"]);
    // What listens on a default port is not ours; where another server does already, this one cannot.
    let _other_postgres = TcpListener::bind("127.0.0.1:25432");
    let mut run = checkout.just(&[recipe]);
    for port in ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "PG_PORT"] {
        run = run.env(port, "0");
    }
    let stream = run.env("INFRA_STATE", checkout.path().join("state")).spawn();
    stream.wait_for_line(flows, VERY_LONG);
    stream.wait_for_lines(" records/s, ", 2, VERY_LONG);
    assert!(checkout.processes().len() >= 2, "Kafka and Postgres run there");

    stream.signal_group(Signal::SIGINT);
    let output = stream.wait(VERY_LONG);
    assert_eq!(output.code, Some(130), "{output}");
    assert!(!output.stderr.contains("error"), "{output}");
    assert!(output.stderr.contains("stopping kafka postgres"), "{output}");
    // One that is just ending has no command line any more.
    eventually(VERY_LONG, async || checkout.processes().is_empty()).await;
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
        let (_, counts) = output.stdout.split_once("\ndevice types\n").unwrap();
        let (types, rest) = counts.split_once("\ntop 2 device types\n").unwrap();
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

    #[tokio::test]
    async fn companies_and_insolvencies_flow_and_are_printed() {
        let checkout = Checkout::built(&["kafka-consumer", "producer", "csv-runner", "sample"]);
        let _other_postgres = TcpListener::bind("127.0.0.1:25432");
        let mut run = checkout.just(&["run-companies"]).env("RUN_SECONDS", "16");
        for port in ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "PG_PORT"] {
            run = run.env(port, "0");
        }
        let state = checkout.path().join("state");
        let output = run.env("INFRA_STATE", state).spawn().wait(VERY_LONG);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.stderr.contains("stopping kafka postgres"), "{output}");
        eventually(VERY_LONG, async || checkout.processes().is_empty()).await;
        let (_, printed) = output.stdout.split_once("\nthe latest companies\n").unwrap();
        let (latest, rest) =
            printed.split_once("\nthe history of the one with most versions\n").unwrap();
        let (history, rest) = rest.split_once("\ninsolvent companies\n").unwrap();
        let (insolvent, files) = rest.split_once("\nfiles\n").unwrap();
        assert!(latest.contains("(5 rows)") && insolvent.contains("(5 rows)"), "{output}");
        let rows = history.lines().filter(|line| line.starts_with(" c-")).count();
        assert!(rows >= 2, "{output}");
        for name in ["monday.csv", "tuesday, late.csv"] {
            let line = files.lines().find(|line| line.contains(name)).unwrap();
            assert!(line.contains("| done"), "{output}");
        }
    }
}
