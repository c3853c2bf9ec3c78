//! Processes under test, played by `sh`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use tally_harness::process::{Launch, Process, Signal};

const SOON: Duration = Duration::from_secs(10);
const FOR_EVER: &str = "echo up; while :; do read -r line </dev/zero; done";

fn sh(script: &str) -> Process {
    Process::spawn("sh", &["-c", script], &[("GREETING", "hello")])
}

#[test]
fn output_and_code_are_what_the_process_left() {
    let output =
        sh("echo $GREETING; echo \"home $CARGO_HOME$CARGO_MANIFEST_DIR\" >&2; printf end; exit 65")
            .wait(SOON);
    assert_eq!((output.code, output.signal), (Some(65), None));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello\nend", "home \n"));
}

#[test]
fn lines_are_waited_for_on_both_streams() {
    let process = sh("echo ready 1 >&2; echo ready 2 >&2; echo port 80; exec sleep 60");
    assert_eq!(process.wait_for_line("port", SOON), "port 80");
    assert_eq!(process.wait_for_lines("ready", 2, SOON), ["ready 1", "ready 2"]);
    assert_eq!(process.output_so_far().stdout, "port 80\n");
}

#[test]
fn a_line_that_never_comes_fails_the_test_with_what_was_said() {
    let process = sh("echo something else; exit 3");
    let panic = catch_unwind(AssertUnwindSafe(|| process.wait_for_line("port", SOON))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("ended before") && message.contains("something else"), "{message}");
}

#[test]
fn signals_reach_it() {
    let process = sh("trap 'echo term; exit 143' TERM; echo up; while :; do sleep 0.01; done");
    process.wait_for_line("up", SOON);
    process.signal(Signal::SIGSTOP);
    process.signal(Signal::SIGTERM);
    assert!(!process.output_so_far().stdout.contains("term"), "a stopped process handles nothing");
    process.signal(Signal::SIGCONT);
    let output = process.wait(SOON);
    assert_eq!((output.code, output.stdout.as_str()), (Some(143), "up\nterm\n"));
    process.signal(Signal::SIGTERM); // it has ended: nothing happens
}

#[test]
fn kill9_is_reported_as_the_signal() {
    let process = Process::spawn("sleep", &["60"], &[]);
    process.kill9();
    let output = process.wait(SOON);
    assert_eq!((output.code, output.signal), (None, Some(Signal::SIGKILL)));
}

#[test]
fn a_process_that_runs_on_is_killed_and_fails_the_test() {
    let process = sh(FOR_EVER);
    process.wait_for_line("up", SOON);
    let panic =
        catch_unwind(AssertUnwindSafe(|| process.wait(Duration::from_millis(50)))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("runs on"));
    assert_eq!(process.wait(SOON).signal, Some(Signal::SIGKILL));
}

#[test]
fn it_is_killed_and_reaped_with_its_value() {
    let process = sh(FOR_EVER);
    process.wait_for_line("up", SOON);
    let entry = format!("/proc/{}", process.id());
    assert!(Path::new(&entry).exists());
    drop(process);
    assert!(!Path::new(&entry).exists());
}

#[test]
fn another_user_is_no_root() {
    let output = Launch::new("id").args(["-u"]).current_dir("/").as_user(65534).spawn().wait(SOON);
    assert_ne!(output.stdout, "0\n");
}
