//! Inputs that cannot be read or are no table: said in one line, exit 66, and nothing is written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;
use tally_harness::job::{Job, ModelService, Target};

use crate::support::{Folder, HEADER, NO_MODEL, SOON, row, run, said, summary, table};

/// A file with this content is refused with this message, in which DIR is its folder.
#[track_caller]
fn refused(name: &str, content: impl AsRef<[u8]>, message: &str) {
    let folder = Folder::new();
    folder.write(name, content);
    refused_in(&folder, name, message);
}

#[track_caller]
fn refused_in(folder: &Folder, name: &str, message: &str) {
    let before = folder.names();
    let database = format!("sqlite:{}", folder.path().join("tally.db").display());
    let output =
        Job::new(&database).model(NO_MODEL).file(folder.path().join(name)).spawn().wait(SOON);
    assert_eq!(output.code, Some(66), "{name}: {output}");
    assert_eq!(folder.shown(said(&output)), [format!("ERROR {message}")], "{name}");
    assert_eq!(output.stdout, "", "{name}");
    assert_eq!(folder.names(), before, "{name}: a file was made");
}

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new();
    refused_in(&folder, "missing.csv", "cannot open DIR/missing.csv: no such file");
    folder.write("file.csv", table([1]));
    refused_in(
        &folder,
        "file.csv/x.csv",
        "cannot open DIR/file.csv/x.csv: Not a directory (os error 20)",
    );
}

#[test]
fn something_else_than_a_file() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("folder.csv")).unwrap();
    refused_in(
        &folder,
        "folder.csv",
        "cannot read DIR/folder.csv: it is a folder; name the files in it",
    );
    let made = Command::new("mkfifo").arg(folder.path().join("pipe.csv")).status().unwrap();
    assert!(made.success());
    refused_in(
        &folder,
        "pipe.csv",
        "cannot read DIR/pipe.csv: it is no regular file and cannot be read twice, once for its hash and once for its rows; copy it to one",
    );
}

#[test]
fn standard_input() {
    let output = Job::new("sqlite:made.db").model(NO_MODEL).file("-").spawn().wait(SOON);
    let why = "ERROR cannot read -: standard input cannot be read twice, once for its hash and once for its rows; \
        save it to a file (./- is one of that name)";
    assert_eq!((output.code, said(&output)), (Some(66), vec![why.to_owned()]), "{output}");
}

#[test]
fn a_file_without_permission() {
    let folder = Folder::new();
    let path = folder.write("secret.csv", table([1]));
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let target = Target::sqlite();
    let job = Job::new(&target.url()).model(NO_MODEL).file(&path);
    let output = job.launch().as_user(65534).current_dir("/").spawn().wait(SOON);
    assert_eq!(output.code, Some(66), "{output}");
    let message = "ERROR cannot open DIR/secret.csv: no permission to read it";
    assert_eq!(folder.shown(said(&output)), [message]);
}

#[test]
fn an_empty_file() {
    refused("empty.csv", "", "DIR/empty.csv is empty");
    let needed =
        "a header is needed: id, description, amount, timestamp, merchant, operation_type, side";
    for blank in ["\n", "\r\n\n", "\u{feff}\n"] {
        let message = format!("DIR/blank.csv holds no line with anything in it: {needed}");
        refused("blank.csv", blank, &message);
    }
}

#[test]
fn a_compressed_file() {
    let cases: [(&str, &[u8]); 4] = [
        ("zip", b"PK\x05\x06\0\0\0\0\0\0\0\0"),
        ("bzip2", b"BZh91AY&SY\0\0id;amount"),
        ("xz", b"\xfd7zXZ\0\0\x04id;amount"),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04id;amount"),
    ];
    for (name, content) in cases {
        refused("x.csv", content, &format!("DIR/x.csv is compressed with {name}: unpack it first"));
    }
}

#[test]
fn a_workbook() {
    let save = "save as CSV in the program that shows it";
    let zip = format!(
        "is compressed with zip, as an .xlsx workbook is: if it is one, {save}; else unpack it first"
    );
    refused("x.xlsx", b"PK\x03\x04\x0a\0\0\0\0\0[Content_Types].xml", &format!("DIR/x.xlsx {zip}"));
    let old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0";
    refused("x.xls", old, &format!("DIR/x.xls is an .xls workbook: {save}"));
}

#[test]
fn a_file_that_is_no_text() {
    let wide = |text: &str, to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    };
    let zeros = "is no text: its first line holds zero bytes; if it is UTF-16 without a byte order mark, convert it with iconv -f UTF-16LE -t UTF-8";
    refused("wide.csv", wide(&table([1]), u16::to_le_bytes), &format!("DIR/wide.csv {zeros}"));
    refused("program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\x03\0>", &format!("DIR/program {zeros}"));

    let latin1 = b"id;libell\xe9;amount;timestamp;merchant;operation_type;side\n1";
    refused(
        "latin1.csv",
        latin1,
        "DIR/latin1.csv is no text in UTF-8: set csv.encoding to the one that it has, such as windows-1252",
    );
    refused(
        "line.csv",
        "x".repeat(2 << 20),
        "DIR/line.csv is not a CSV table: its first line is longer than 1 MiB",
    );
}

#[test]
fn a_header_without_its_columns() {
    refused(
        "shop.csv",
        HEADER.replace("merchant", "shop") + &row(1),
        "DIR/shop.csv lacks the column merchant; it has id, description, amount, timestamp, shop, operation_type, side: map other names by csv.columns",
    );
    refused(
        "two.csv",
        "id,description,amount,timestamp,merchant\n",
        "DIR/two.csv lacks the columns operation_type, side; it has id, description, amount, timestamp, merchant: map other names by csv.columns",
    );
    refused(
        "rows.csv",
        row(1),
        "DIR/rows.csv has no header: its first line names none of the columns \
         id, description, amount, timestamp, merchant, operation_type, side: map other names by csv.columns",
    );
    refused(
        "twice.csv",
        HEADER.replace("side", "side;amount"),
        "DIR/twice.csv has the column amount more than once",
    );
    refused(
        "quote.csv",
        "\"id;description;amount\n1;2;3\n",
        "DIR/quote.csv has a header that cannot be split: a quote is not closed, or text follows it",
    );
    refused(
        "mac.csv",
        table([1]).replace('\n', "\r"),
        "DIR/mac.csv is not a CSV table: its lines end with CR alone; convert them to LF",
    );
}

#[tokio::test]
async fn a_header_alone_is_a_file_of_no_rows() {
    for header in [HEADER, HEADER.trim_end()] {
        let (folder, target) = (Folder::new(), Target::sqlite());
        let path = folder.write("header.csv", header);
        let output = run(&target, NO_MODEL, &[path], &[]);
        assert_eq!((output.code, said(&output)), (Some(0), vec![]), "{output}");
        let summary = summary(&output);
        assert_eq!((&summary["read"], &summary["files"][0]["state"]), (&json!(0), &json!("done")));
        assert_eq!(target.number("select count(*) from batches").await, 0);
        let ended = "select count(*) from positions where next = 0 and ended_at is not null";
        assert_eq!(target.number(ended).await, 1);
    }
}

#[tokio::test]
async fn columns_that_the_flow_does_not_know_are_ignored_and_said_once() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let mut content =
        "note;id;description;amount;timestamp;merchant;operation_type;side;;tag\n".to_owned();
    for id in 0..5 {
        content = content + "n;" + &row(id).replace('\n', ";;t\n");
    }
    let path = folder.write("extra.csv", content);
    let output = run(&target, model.url(), &[path], &["--batch-size", "2"]);
    assert_eq!(output.code, Some(0), "{output}");
    let warning = "WARN DIR/extra.csv: ignoring the unknown columns note, tag";
    assert_eq!(folder.shown(said(&output)), [warning]);
    assert_eq!(summary(&output)["written"], 5);
    assert_eq!(target.number("select count(*) from transactions where side = 'debit'").await, 5);
}

#[tokio::test]
async fn a_bad_file_is_reported_and_the_rest_go_on() {
    let (folder, target, model) = (Folder::new(), Target::sqlite(), ModelService::start());
    let first = folder.write("first.csv", table(1..=3));
    let bad = folder.write("bad.csv", "nothing of ours\n");
    let missing = folder.path().join("missing.csv");
    let last = folder.write("last.csv", table(4..=5));
    let files = [first.clone(), bad, missing, last, first];
    let output = run(&target, model.url(), &files, &[]);

    assert_eq!(output.code, Some(66), "{output}");
    let (finished, said): (Vec<_>, Vec<_>) =
        folder.shown(said(&output)).into_iter().partition(|line| line.contains("was finished at"));
    let header = "has no header: its first line names none of the columns \
        id, description, amount, timestamp, merchant, operation_type, side: map other names by csv.columns";
    let missing = "ERROR cannot open DIR/missing.csv: no such file".to_owned();
    assert_eq!(said, [format!("ERROR DIR/bad.csv {header}"), missing]);
    assert!(
        finished.len() == 1
            && finished[0].ends_with(" UTC with 3 rows; --again reads it once more"),
        "{finished:?}"
    );

    let summary = summary(&output);
    let state = |file: &serde_json::Value| json!([file["state"], file["read"]]);
    let states: Vec<_> = summary["files"].as_array().unwrap().iter().map(state).collect();
    let expected = [
        json!(["done", 3]),
        json!(["failed", 0]),
        json!(["failed", 0]),
        json!(["done", 2]),
        json!(["already_done", 0]),
    ];
    assert_eq!(states, expected);
    assert_eq!(target.number("select count(*) from transactions").await, 5);
    assert_eq!(target.number("select count(*) from positions").await, 2);
}
