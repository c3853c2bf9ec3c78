//! How the command `sample` ends.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tally_sample::{Options, generate};

fn sample(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.args(flags);
    command
}

#[test]
fn flags_are_the_options() {
    let output = sample(&["300", "--seed", "7", "--spoil", "0.25"]).output().unwrap();
    let mut expected = Vec::new();
    let options = Options { rows: 300, seed: 7, spoil_share: 0.25, ..Options::default() };
    generate(&options, &mut expected).unwrap();
    assert!(output.stdout == expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut process = sample(&["1000000000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut header = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut header).unwrap();
    assert_eq!(header, "id;description;amount;timestamp;merchant;operation_type;side\n");
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_full_disk_is_74() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sample(&["10"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(output.stderr, b"cannot write to standard output: no storage space\n");
}

#[test]
fn bad_flags_are_2() {
    for flags in [&["ten"][..], &[], &["10", "--spoil", "1.5"], &["10", "--delimiter", "|"]] {
        assert_eq!(sample(flags).output().unwrap().status.code(), Some(2), "{flags:?}");
    }
}
