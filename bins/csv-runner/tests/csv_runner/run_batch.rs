//! `just run-batch`: to its end, and until Ctrl-C.

use std::time::Duration;

use tally_harness::checkout::Checkout;
use tally_harness::eventually;
use tally_harness::job::Target;
use tally_harness::process::Signal;
use tally_harness::sample::Sample;

const VERY_LONG: Duration = Duration::from_mins(3);

fn checkout() -> Checkout {
    Checkout::built(&["csv-runner", "ml-api"])
}

#[tokio::test]
async fn the_sample_is_taken_into_a_file_and_the_model_stopped() {
    let checkout = checkout();
    let output = checkout.just(&["run-batch"]).spawn().wait(VERY_LONG);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stdout.contains("10000 rows read in "), "{output}");
    assert!(checkout.path().join("tally.db").exists());
    eventually(VERY_LONG, async || checkout.processes().is_empty()).await;

    let missing = checkout.just(&["run-batch", "none.csv"]).spawn().wait(VERY_LONG);
    assert_eq!(missing.code, Some(66), "{missing}");
    eventually(VERY_LONG, async || checkout.processes().is_empty()).await;
}

/// Which a terminal sends to all of it: what is in flight still needs the model.
#[tokio::test]
async fn ctrl_c_leaves_the_model_until_what_is_in_flight_is_committed() {
    let (checkout, sample, target) = (checkout(), Sample::new(300_000), Target::sqlite());
    let path = sample.path();
    let file = path.to_str().unwrap();
    let run = || checkout.just(&["run-batch", file]).env("DATABASE_URL", target.url()).spawn();
    let stopped = run();
    let batches = "select count(*) from batches";
    eventually(VERY_LONG, async || target.has_tables().await && target.number(batches).await > 0)
        .await;
    stopped.signal_group(Signal::SIGINT);
    let output = stopped.wait(VERY_LONG);
    assert_eq!(output.code, Some(130), "{output}");
    assert!(!output.stderr.contains("unavailable"), "{output}");
    eventually(VERY_LONG, async || checkout.processes().is_empty()).await;
    let before = target.number("select sum(read) from batches").await;
    assert!((1..sample.rows()).contains(&before), "{before}");

    let output = run().wait(VERY_LONG);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(target.number("select sum(read) from batches").await, sample.rows());
}
