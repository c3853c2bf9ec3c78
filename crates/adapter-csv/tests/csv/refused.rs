//! Records that are none.

use bytes::Bytes;
use tally_adapter_csv::{Overrides, Settings, decode};
use tally_domain::Flow;
use tally_domain::amount::{DecimalSign, Notation};
use tally_domain::transactions::Transactions;
use tally_ports::Raw;
use tally_ports::dead_letter::{PAYLOAD_LIMIT, TRUNCATED};

use crate::support::{COLUMNS, all_shown, header, payload, read, shown};

async fn check(rows: impl AsRef<[u8]>, expected: &[&str]) {
    let content = [b"id;amount;text\n", rows.as_ref()].concat();
    let items = read(&content, &Settings::default()).await;
    assert_eq!(all_shown(&items), expected, "{}", content.escape_ascii());
}

#[tokio::test]
async fn a_wrong_number_of_fields() {
    check("1\n2;3;b\n", &["fields: line 2: 1 field instead of 3 [1]", "2|3|b"]).await;
    check("1;2\r\n2;3;b\n", &["fields: line 2: 2 fields instead of 3 [1;2]", "2|3|b"]).await;
    check("1;2;a;b\n2;3;b\n", &["fields: line 2: 4 fields instead of 3 [1;2;a;b]", "2|3|b"]).await;
    check("\n1;2;\"a\n\"\n\n1;2\n", &["1|2|a\n", "fields: line 6: 2 fields instead of 3 [1;2]"])
        .await;
    check(
        "1;\"a\nb\"\n2;3;b\n",
        &[
            "fields: line 2: 2 fields instead of 3 [1;\"a]",
            "fields: line 3: 1 field instead of 3 [b\"]",
            "2|3|b",
        ],
    )
    .await;
    check(
        "1;2;a;\"b\n\";c\n2;3;b\n",
        &[
            "fields: line 2: more than 3 fields [1;2;a;\"b]",
            "unframed: line 3: a quote is not closed until the end of the file [\";c]",
            "2|3|b",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_unclosed_quote_costs_one_line() {
    const OPEN: &str = "a quote is not closed until the end of the file";
    const AFTER: &str = "after a closing quote comes something else than a delimiter or a line end";
    check(
        "1;\"2;a\n2;3;b\n3;4;c\n",
        &[&format!("unframed: line 2: {OPEN} [1;\"2;a]"), "2|3|b", "3|4|c"],
    )
    .await;
    check("1;2;\"a\n2;3;\"b\"\n", &[&format!("unframed: line 2: {AFTER} [1;2;\"a]"), "2|3|b"])
        .await;
    check("1;2;a\n2;3;\"b", &["1|2|a", &format!("unframed: line 3: {OPEN} [2;3;\"b]")]).await;
    check("1;2;a\n2;3;\"\n", &["1|2|a", &format!("unframed: line 3: {OPEN} [2;3;\"]")]).await;
    check("1;2;\"a\"b\n2;3;b\n", &[&format!("unframed: line 2: {AFTER} [1;2;\"a\"b]"), "2|3|b"])
        .await;
    check("1;2;\"a\" \n2;3;b\n", &[&format!("unframed: line 2: {AFTER} [1;2;\"a\" ]"), "2|3|b"])
        .await;
}

#[tokio::test]
async fn bytes_that_are_not_in_the_encoding() {
    check(
        b"1;2;caf\xe9\n2;3;b\n",
        &[
            "encoding: line 2: column text is not valid UTF-8 (csv.encoding) [1;2;caf\\xe9]",
            "2|3|b",
        ],
    )
    .await;
    let content = b"id;amount;text;\n1;2;a;\xff\n\xff;2;a;b\n";
    let items = read(content, &Settings::default()).await;
    assert_eq!(
        all_shown(&items),
        [
            "encoding: line 2: field 4 is not valid UTF-8 (csv.encoding) [1;2;a;\\xff]",
            "encoding: line 3: column id is not valid UTF-8 (csv.encoding) [\\xff;2;a;b]",
        ]
    );
    assert_eq!(items[0].raw.key.as_deref(), Some(b"1".as_slice()));
    assert_eq!(items[1].raw.key, None);
    let settings = Settings { encoding: "euc-kr".to_owned(), ..Settings::default() };
    let items = read(b"id;amount;text\n1;2;\xff\n", &settings).await;
    assert_eq!(
        all_shown(&items),
        ["encoding: line 2: column text is not valid EUC-KR (csv.encoding) [1;2;\\xff]"]
    );
}

#[tokio::test]
async fn a_record_over_1_mib() {
    let line = "x".repeat(1000);
    let quoted = format!("1;2;\"a\n{}\"\n2;3;b\n", format!("{line}\n").repeat(1100));
    let items = read(format!("id;amount;text\n{quoted}"), &Settings::default()).await;
    assert_eq!(
        shown(&items[0]),
        "too_long: line 2: the record that starts here is longer than 1 MiB [1;2;\"a]"
    );
    assert_eq!(items[0].raw.key, None);
    assert_eq!(items.len(), 1 + 1100 + 2);
    let last: Vec<String> = items[1100..].iter().map(shown).collect();
    assert_eq!(last[0], format!("fields: line 1102: 1 field instead of 3 [{line}]"));
    assert_eq!(
        last[1],
        "unframed: line 1103: a quote is not closed until the end of the file [\"]"
    );
    assert_eq!(last[2], "2|3|b");
}

#[tokio::test]
async fn a_line_over_1_mib_is_cut() {
    let long = format!("1;2;{}", "x".repeat(3 * PAYLOAD_LIMIT));
    let items = read(format!("id;amount;text\n0;1;z\n{long}\n2;3;b\n"), &Settings::default()).await;
    assert_eq!([shown(&items[0]), shown(&items[2])], ["0|1|z", "2|3|b"]);
    let reason = items[1].content.as_ref().unwrap_err();
    assert_eq!(
        (reason.code.as_ref(), reason.message.as_str()),
        ("too_long", "line 3: the record that starts here is longer than 1 MiB")
    );
    assert_eq!(payload(&items[1]), &long.as_bytes()[..PAYLOAD_LIMIT]);
    assert_eq!(header(&items[1], TRUNCATED), Some(b"true".as_slice()));
    assert_eq!(header(&items[1], "csv.delimiter"), Some(b";".as_slice()));
    assert_eq!(header(&items[2], TRUNCATED), None);
}

#[tokio::test]
async fn a_record_of_1_mib_is_read() {
    let text = "x".repeat(PAYLOAD_LIMIT - 6);
    let items = read(format!("id;amount;text\n1;2;\"{text}\"\n"), &Settings::default()).await;
    assert_eq!(shown(&items[0]), format!("1|2|{text}"));
}

#[tokio::test]
async fn a_dead_letter_can_be_read_again() {
    let content = b"text;amount;id\n\"caf\xe9\n\";2,5;1\nb;3\nc;3,5;\"2\n\"d\"x;4;3\n";
    let settings = Settings { encoding: "latin1".to_owned(), ..Settings::default() };
    let items = read(content, &settings).await;
    assert_eq!(items.len(), 4);
    for item in &items {
        let again = decode(&item.raw, COLUMNS, &Overrides::default()).await;
        match (&item.content, again) {
            (Ok(fields), Ok((again, notation))) => {
                assert_eq!((&again, notation), (fields, Notation::Shown(DecimalSign::Comma)));
            }
            (Err(reason), Err(again)) => assert_eq!(again.code, reason.code),
            (first, again) => panic!("{first:?} {again:?}"),
        }
    }
    let refused = |raw| async move {
        decode(&raw, COLUMNS, &Overrides::default()).await.unwrap_err().message
    };
    assert_eq!(refused(Raw::default()).await, "it has no header csv.decimal");
    let mut two = items[0].raw.clone();
    two.payload = Some(Bytes::from_static(b"a;1;1\nb;2;2"));
    assert_eq!(refused(two).await, "it is not exactly one record");
    let other = decode(&items[0].raw, Transactions::default().columns(), &Overrides::default())
        .await
        .unwrap_err();
    assert!(
        other.message.starts_with("its file lacks the columns description, timestamp"),
        "{}",
        other.message
    );
}
