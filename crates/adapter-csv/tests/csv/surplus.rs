//! One more field behind the columns, with nothing in it.

use tally_adapter_csv::{CsvMask, Overrides, Settings, decode};
use tally_ports::Mask;

use crate::support::{COLUMNS, all_shown, payload, read};

/// What is read, and read again from what a dead letter keeps.
async fn check(content: &str, expected: &[&str]) {
    let items = read(content, &Settings::default()).await;
    assert_eq!(all_shown(&items), expected, "{content}");
    for item in &items {
        match (&item.content, decode(&item.raw, COLUMNS, &Overrides::default()).await) {
            (Ok(fields), Ok((again, _))) => assert_eq!(&again, fields),
            (Err(reason), Err(again)) => assert_eq!(again.code, reason.code),
            (first, again) => panic!("{first:?} {again:?}"),
        }
    }
}

#[tokio::test]
async fn at_the_end_of_rows_it_does_not_count() {
    check("id;amount;text\n1;2;a;\n2;3;b\n3;4;;\n", &["1|2|a", "2|3|b", "3|4|-"]).await;
    check("id;amount;text\r\n1;2;a;\r\n2;3;b;\"\"\r\n", &["1|2|a", "2|3|b"]).await;
    check("id,amount,text\n1,2,a,\n2,3,\"b\nc\",\n", &["1|2|a", "2|3|b\nc"]).await;
    check("id\tamount\ttext\n1\t2\ta\t\n", &["1|2|a"]).await;
}

#[tokio::test]
async fn in_the_header_it_does_not_count() {
    check("id;amount;text;\n1;2;a\n2;3;b;\n3;4;c;x\n", &["1|2|a", "2|3|b", "3|4|c"]).await;
    check("id;amount;text;\"\"\n1;2;a\n", &["1|2|a"]).await;
    check("id;amount;text; \r\n1;2;a\r\n", &["1|2|a"]).await;
}

#[tokio::test]
async fn more_than_one_is_a_wrong_number_of_fields() {
    let two = |line: u64, row: &str| {
        let fields = row.matches(';').count() + 1;
        format!("fields: line {line}: {fields} fields instead of 3 [{row}]")
    };
    check("id;amount;text\n1;2;a;;\n", &[&two(2, "1;2;a;;")]).await;
    check("id;amount;text;\n1;2;a;;\n", &[&two(2, "1;2;a;;")]).await;
    check("id;amount;text\n1;2;a;b\n2;3\n", &[&two(2, "1;2;a;b"), &two(3, "2;3")]).await;
    check("id;amount;text;\n1;2\n", &[&two(2, "1;2")]).await;
}

#[tokio::test]
async fn fields_are_masked_in_rows_with_it() {
    let masked = |content: &'static str| async move {
        let items = read(content, &Settings::default()).await;
        let mask = CsvMask::new(&["text".to_owned()], COLUMNS);
        let raw = mask.mask(&items[0].raw);
        let masked = String::from_utf8(raw.payload.unwrap().to_vec()).unwrap();
        (String::from_utf8(payload(&items[0]).to_vec()).unwrap(), masked)
    };
    let of = |row: &str, masked: &str| (row.to_owned(), masked.to_owned());
    assert_eq!(masked("id;amount;text\n1;2;a;\n").await, of("1;2;a;", "1;2;***;"));
    assert_eq!(masked("id;amount;text;\n1;2;a\n").await, of("1;2;a", "1;2;***"));
    assert_eq!(masked("id;amount;text;\n1;2;a;x\n").await, of("1;2;a;x", "1;2;***;x"));
    // In what is no record the fields cannot be told.
    let (row, kept) = masked("id;amount;text\n1;2;a;b\n").await;
    assert!(row == "1;2;a;b" && kept.starts_with("7 bytes, BLAKE3 "), "{kept}");
}
