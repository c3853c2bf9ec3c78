//! Headers as people write them.

use std::collections::BTreeMap;

use tally_adapter_csv::{CsvFile, Settings};
use tally_ports::StopKind;

use crate::support::{COLUMNS, all_shown, file_of, header, open, read};

fn skipping(skip_lines: usize) -> Settings {
    Settings { skip_lines, ..Settings::default() }
}

fn mapping<const N: usize>(names: [(&str, &str); N]) -> Settings {
    let columns: BTreeMap<_, _> =
        names.into_iter().map(|(name, column)| (name.to_owned(), column.to_owned())).collect();
    Settings { columns, ..Settings::default() }
}

async fn rows(content: &str, settings: &Settings) -> Vec<String> {
    all_shown(&read(content, settings).await)
}

/// Refused with this message, in which `{}` stands for the path.
async fn refused(content: &str, settings: &Settings, expected: &str) {
    let file = file_of(content);
    let stop = CsvFile::open(file.path(), settings, COLUMNS).await.unwrap_err();
    assert_eq!(stop.message.replace(&file.path().display().to_string(), "{}"), expected);
    assert_eq!(stop.kind, StopKind::Input);
}

#[tokio::test]
async fn a_first_line_may_name_the_delimiter() {
    let plain = Settings::default();
    for content in [
        "sep=;\r\nid;amount;text\r\n1;2;a,b\r\n",
        "\u{feff}SEP=,\nid,amount,text\n1,2,\"a,b\"\n",
        "\"sep=|\"\nid|amount|text\n1|2|a,b\n",
        "sep=\t\nid\tamount\ttext\n1\t2\ta,b\n",
        // Saved once more in a program that does not know it.
        "sep=;;;\n\nid;amount;text\n1;2;a,b\n",
    ] {
        assert_eq!(rows(content, &plain).await, ["1|2|a,b"], "{content:?}");
    }
    // It decides, even where another delimiter would find more columns.
    refused(
        "sep=|\nid;amount;text\n",
        &plain,
        "{} has no header: its line 2 names none of the columns id, amount, text: map other names by csv.columns",
    )
    .await;
    refused(
        "sep=:\nid:amount:text\n",
        &plain,
        "{} names the delimiter : in its line 1 (sep=), which is not one of ; , | and the tab",
    )
    .await;
    let items = read("sep=;\nid;amount;text\n1;2\n", &plain).await;
    assert_eq!(header(&items[0], "csv.header"), Some(&b"id;amount;text"[..]));
    assert_eq!(items[0].raw.line, Some(3));
}

#[tokio::test]
async fn a_bar_is_a_delimiter() {
    assert_eq!(rows("id|amount|text\n1|2|\"a|b\"\n", &Settings::default()).await, ["1|2|a|b"]);
}

#[tokio::test]
async fn lines_before_the_header_are_left_out() {
    let content = "Statement;2024\n\"of \";x\n\nid;amount;text\n1;2;a\n";
    for skip in [2, 3] {
        assert_eq!(rows(content, &skipping(skip)).await, ["1|2|a"], "{skip}");
    }
    let marked = format!("\u{feff}sep=;\nStatement\n{}", "id;amount;text\n1;2;a\n");
    assert_eq!(rows(&marked, &skipping(2)).await, ["1|2|a"]);
    let items = read("x\nid;amount;text\n1;2;a\n", &skipping(1)).await;
    assert_eq!(header(&items[0], "csv.skip_lines"), Some(&b"1"[..]));
    assert_eq!(items[0].raw.line, Some(3));
    refused(
        "id;amount;text\n1;2;a\n",
        &skipping(5),
        "{} has 2 lines, and csv.skip_lines leaves out 5",
    )
    .await;
    let long = "x".repeat(3 << 20);
    let much = "{} has more than 1 MiB in the lines that csv.skip_lines leaves out: it is 1";
    refused(&long, &skipping(1), much).await;
}

#[tokio::test]
async fn a_header_further_down_is_named_with_the_setting() {
    let names = "names none of the columns id, amount, text: map other names by csv.columns";
    refused(
        "Statement;2024\n\nof a \"bank\nid;amount;text\n1;2;a\n",
        &Settings::default(),
        &format!("{{}} has no header: its first line {names}; line 4 is a header: set csv.skip_lines to 3"),
    )
    .await;
    refused(
        "id;text\nid,AMOUNT,text\n",
        &Settings::default(),
        "{} lacks the column amount; it has id, text: map other names by csv.columns; \
         line 2 is a header: set csv.skip_lines to 1",
    )
    .await;
    // Too many lines are left out.
    refused(
        "\u{feff}id;amount;text\n1;2;a\n",
        &skipping(1),
        &format!(
            "{{}} has no header: its line 2 {names}; line 1 is a header: set csv.skip_lines to 0"
        ),
    )
    .await;
    let far = |lines: usize| "x\n".repeat(lines) + "id;amount;text\n";
    let none = format!("{{}} has no header: its first line {names}");
    refused(
        &far(50),
        &Settings::default(),
        &format!("{none}; line 51 is a header: set csv.skip_lines to 50"),
    )
    .await;
    refused(&far(51), &Settings::default(), &none).await;
}

#[tokio::test]
async fn names_are_matched_without_case_and_blanks() {
    let file = file_of(" ID ;\"Amount\u{a0}\";text;Text\n1;2;a;b\n");
    let file = open(&file, &Settings::default()).await;
    let pair = |name: &str, column: &str| (name.to_owned(), column.to_owned());
    assert_eq!(file.respelt(), [pair(" ID ", "id"), pair("Amount\u{a0}", "amount")]);
    assert_eq!(file.unknown_columns(), ["Text"]);
    refused(
        "id;Amount;AMOUNT;text\n",
        &Settings::default(),
        "{} has the column amount more than once: as Amount, AMOUNT",
    )
    .await;
}

#[tokio::test]
async fn other_names_are_mapped() {
    let settings = mapping([("Betrag (EUR)", "amount"), ("nr", "id"), ("unused", "id")]);
    let content = "Nr;Betrag (EUR);text\n1;2;a\n2;3\n";
    let items = read(content, &settings).await;
    assert_eq!(all_shown(&items)[0], "1|2|a");
    let mapped = r#"{"Betrag (EUR)":"amount","nr":"id","unused":"id"}"#;
    assert_eq!(header(&items[1], "csv.columns"), Some(mapped.as_bytes()));
    let file = file_of(content);
    assert!(open(&file, &settings).await.respelt().is_empty());
    refused(
        "Nr;amount;Betrag (EUR);text\n",
        &settings,
        "{} has the column amount more than once: as amount, Betrag (EUR)",
    )
    .await;
    let file = file_of(content);
    let stop = CsvFile::open(file.path(), &mapping([("nr", "Id")]), COLUMNS).await.unwrap_err();
    let message = "csv.columns: \"nr\" is mapped to \"Id\", which is not a column; the columns are id, amount, text";
    assert_eq!((stop.kind, &*stop.message), (StopKind::Setting, message));
}

#[tokio::test]
async fn a_second_byte_order_mark_is_shown() {
    refused(
        "\u{feff}\u{feff}id;amount;text\n",
        &Settings::default(),
        "{} lacks the column id; it has \\u{feff}id, amount, text: a second byte order mark stands before its first \
         name, remove it",
    )
    .await;
}

#[tokio::test]
async fn what_looks_like_rows_in_a_quoted_field_is_noticed_once() {
    let line = async |content: &str| {
        let file = file_of(content);
        let file = open(&file, &Settings::default()).await;
        crate::support::read_on(&file, 0, &serde_json::Value::Null, 2).await.unwrap();
        file.swallowing_line()
    };
    let table = |rows: &str| format!("id;amount;text\n{rows}");
    let swallowed = "1;2;a\n2;3;\"never closed\r\n3;4;c\r\n4;5;\"\"\n5;6;d\"\n";
    assert_eq!(line(&table(swallowed)).await, Some(3));
    let twice = swallowed.to_owned() + &swallowed.replace("never", "once more");
    assert_eq!(line(&table(&twice)).await, Some(3));
    // Prose, two lines, and fields that end and begin in a line.
    for rows in [
        "1;2;\"dear;\nall of you; here\nbye\"\n",
        "1;2;\"a\nb\"\n",
        "\"1\n\";2;\"\nb\"\n",
        "\"\n1\";\"\";\"b\n\"\n",
    ] {
        assert_eq!(line(&table(rows)).await, None, "{rows:?}");
    }
}
