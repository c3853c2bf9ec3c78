//! What the programs say of flows.

use tally_harness::job::{Target, ended_with};

use crate::support::{Table, program, take};

#[test]
fn a_flow_that_there_is_not_is_refused_and_the_others_are_named() {
    for name in ["csv-runner", "kafka-consumer", "producer", "audit"] {
        let flags: &[&str] =
            if name == "audit" || name == "kafka-consumer" { &[] } else { &["x.csv"] };
        let process = program(name).args(["--flow", "nosuch"]).args(flags).spawn();
        let output = ended_with(&process, 2);
        for known in [
            "nosuch",
            "readings",
            "profiles",
            "contracts",
            "clicks",
            "claims",
            "shipments",
            "alerts",
            "orders",
        ] {
            assert!(output.stderr.contains(known), "{name}: {output}");
        }
    }
}

#[test]
fn the_help_names_the_flows_and_the_one_that_is_meant_without_a_name() {
    for name in ["csv-runner", "kafka-consumer", "producer", "audit"] {
        let output = ended_with(&program(name).args(["--help"]).spawn(), 0);
        let help = "(readings, profiles, contracts, clicks, claims, shipments, alerts, orders) [default: readings]";
        let text = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(help), "{name}: {output}");
    }
}

#[test]
fn without_a_name_the_first_flow_is_meant() {
    let target = Target::sqlite();
    let table = Table::new(&["nothing", "1"]);
    let process =
        program("csv-runner").args(["--database-url", &target.url()]).args([table.path()]).spawn();
    let output = ended_with(&process, 66);
    assert!(output.stderr.contains("sensor, at, value"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_flow_that_the_program_does_not_know_are_not_replayed() {
    let target = Target::sqlite();
    let table = Table::new(&["sensor;at;value;second_value;is_valid;details", "a;b;c;;;"]);
    take("readings", &target, &table, &[]);
    target.execute("update dead_letters set flow = 'elsewhere'").await;
    let replay = ["replay", "--all", "--reason", "test", "--database-url", &target.url()];
    let output = ended_with(&program("dead-letters").args(replay).spawn(), 78);
    for part in ["elsewhere", "readings", "nothing was changed"] {
        assert!(output.stderr.contains(part), "{output}");
    }
    assert_eq!(target.number("select count(*) from dead_letters where state = 'open'").await, 1);
    assert_eq!(target.number("select count(*) from acts").await, 0);
}

#[test]
fn settings_may_differ_by_flow() {
    let shown = |flow: &str, environment: &[(&str, &str)]| {
        let mut launch = program("csv-runner").args(["--flow", flow, "--print-config"]);
        for (name, value) in environment {
            launch = launch.env(name, value);
        }
        ended_with(&launch.spawn(), 0).stdout
    };
    let environment = [
        ("TOPIC_NAME", "of-the-first"),
        ("TALLY_FLOWS__CLICKS__TOPIC", "pages"),
        ("TALLY_FLOWS__CLICKS__ML__CONCURRENCY", "7"),
        ("TALLY_FLOWS__CLICKS__PRIVACY__MASKED", "[\"visitor\"]"),
    ];
    let first = shown("readings", &environment);
    assert!(first.contains("kafka.topic = \"of-the-first\""), "{first}");
    assert!(first.contains("ml.concurrency = 4"), "{first}");
    assert!(first.contains("batch_size = 4000 # default"), "{first}");
    let clicks = shown("clicks", &environment);
    assert!(
        clicks.contains("kafka.topic = \"pages\" # environment TALLY_FLOWS__CLICKS__TOPIC"),
        "{clicks}"
    );
    assert!(clicks.contains("ml.concurrency = 7"), "{clicks}");
    assert!(clicks.contains("privacy.masked = [\"visitor\"]"), "{clicks}");
    // Its own name, whatever is exported for the first flow.
    let claims = shown("claims", &environment);
    assert!(claims.contains("kafka.topic = \"claims\""), "{claims}");
    assert!(claims.contains("batch_size = 1000 # default"), "it has a model: {claims}");
    let process = program("csv-runner")
        .args(["--print-config"])
        .env("TALLY_FLOWS__NOSUCH__TOPIC", "x")
        .spawn();
    let output = ended_with(&process, 78);
    assert!(output.stderr.contains("nosuch") && output.stderr.contains("readings"), "{output}");
}

#[test]
fn the_topics_of_outputs_are_settings_of_their_flow() {
    let print = |name: &str, value: &str, code| {
        let launch = program("csv-runner").args(["--flow", "alerts", "--print-config"]);
        ended_with(&launch.env(name, value).spawn(), code)
    };
    let shown = print("TALLY_FLOWS__ALERTS__PUBLISH__ALERTS", "7", 0).stdout;
    let line =
        "flows.alerts.publish.alerts = \"7\" # environment TALLY_FLOWS__ALERTS__PUBLISH__ALERTS";
    assert!(shown.contains(line), "{shown}");
    for (name, value, message) in [
        (
            "TALLY_FLOWS__ALERTS__PUBLISH__NOSUCH",
            "x",
            "flows.alerts.publish.nosuch is no output of the flow: these are alerts",
        ),
        (
            "TALLY_FLOWS__CLICKS__PUBLISH__CLICKS",
            "x",
            "flows.clicks.publish.clicks is no output of the flow: it publishes nothing",
        ),
        (
            "TALLY_FLOWS__ALERTS__PUBLISH__ALERTS",
            "alerts",
            "flows.alerts.publish.alerts is alerts, as kafka.topic is",
        ),
    ] {
        let output = print(name, value, 78);
        assert!(output.stderr.contains(message), "{output}");
    }
}
