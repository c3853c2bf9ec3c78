//! Rows with nothing in them.

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_csv::{Overrides, Settings, decode};
use tally_ports::Raw;

use crate::support::{COLUMNS, all_shown, file_of, next, open, read, read_on};

const BLANK: &str = ";;\n\"\";\"\";\"\"\r\n ;\t;\n\n;;;;;;\n";

#[tokio::test]
async fn they_take_no_position_and_are_counted() {
    let content = format!("id;amount;text\n{BLANK}1;2;a\n{BLANK}2;3;\n3;4\n{}", BLANK.repeat(1000));
    let file = file_of(content);
    let file = open(&file, &Settings::default()).await;
    assert_eq!(file.blank_rows(), 0);
    let items = read_on(&file, 0, &Value::Null, 2).await.unwrap();
    // The number of lines counts them.
    assert_eq!(
        all_shown(&items),
        ["1|2|a", "2|3|-", "fields: line 14: 2 fields instead of 3 [3;4]"]
    );
    assert_eq!(file.blank_rows(), 5 * 1002);
}

#[tokio::test]
async fn resuming_between_them_agrees_on_positions() {
    let content =
        format!("id;amount;text\n{BLANK}1;2;a\n{BLANK}2;3;b\n{BLANK}{BLANK}3;4;c\n{BLANK}");
    let file = file_of(content);
    let whole = open(&file, &Settings::default()).await;
    let expected = all_shown(&read_on(&whole, 0, &Value::Null, 100).await.unwrap());
    assert_eq!(expected, ["1|2|a", "2|3|b", "3|4|c"]);
    let mut source = whole.read_from(0, &Value::Null).await.unwrap();
    while let Some(batch) = next(&mut source, 1).await {
        let again = open(&file, &Settings::default()).await;
        let row = batch.last + 1;
        let rest = read_on(&again, row, &batch.cursor, 1).await.unwrap();
        assert_eq!(all_shown(&rest), expected[usize::try_from(row).unwrap()..]);
        // Those of the rest alone.
        assert_eq!(again.blank_rows(), [20, 15, 5][usize::try_from(batch.last).unwrap()]);
    }
}

#[tokio::test]
async fn a_file_of_nothing_else_has_no_rows() {
    let file = file_of(format!("id;amount;text\n{}", ";;\n".repeat(2_000_000)));
    let file = open(&file, &Settings::default()).await;
    assert!(read_on(&file, 0, &Value::Null, 100).await.unwrap().is_empty());
    assert_eq!(file.blank_rows(), 2_000_000);
}

/// A dead letter of a row that is no record any more.
#[tokio::test]
async fn one_that_was_a_dead_letter_is_none_in_a_replay() {
    let items = read("id;amount;text\n1;2;a\n", &Settings::default()).await;
    let raw = Raw { payload: Some(Bytes::from_static(b";;")), ..items[0].raw.clone() };
    let reason = decode(&raw, COLUMNS, &Overrides::default()).await.unwrap_err();
    assert_eq!(
        (&*reason.code, &*reason.message),
        ("unframed", "it is a blank row, which is no record")
    );
}
