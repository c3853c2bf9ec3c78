//! Good rows in every dress.

use tally_adapter_csv::{Decimal, Settings};

use crate::support::{all_shown, header, payload, read};

fn settings(encoding: &str, decimal: Decimal) -> Settings {
    Settings { encoding: encoding.to_owned(), decimal, ..Settings::default() }
}

#[track_caller]
fn check(content: impl AsRef<[u8]>, expected: &[&str]) {
    check_with(&Settings::default(), content, expected);
}

#[track_caller]
fn check_with(settings: &Settings, content: impl AsRef<[u8]>, expected: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let items = runtime.block_on(read(&content, settings));
    assert_eq!(all_shown(&items), expected, "{}", content.as_ref().escape_ascii());
}

#[test]
fn columns_are_found_by_name() {
    check("id;amount;text\n1;2;a\n", &["1|2|a"]);
    check("text;id;amount\na;1;2\n", &["1|2|a"]);
    check(" text ;\"amount\";\" id\"\na;2;1\n", &["1|2|a"]);
    check("id;note;amount;;text;;note\n1;x;2;y;a;z;w\n", &["1|2|a"]);
    check("id;hint;amount;text;hint\n1;x;2;a;y\n", &["1|2|a"]);
    check("\"a\nnote\";id;amount;text\nx;1;2;a\n", &["1|2|a"]);
    check("\n\r\nid;amount;text\n1;2;a\n", &["1|2|a"]);
}

#[test]
fn the_delimiter_is_told_from_the_header() {
    check("id,amount,text\n1,2,a;b\n", &["1|2|a;b"]);
    check("id\tamount\ttext\n1\t2\ta,b\n", &["1|2|a,b"]);
    check("\"id\",\"amount\",\"text\",\"x;y\"\n1,2,a,b\n", &["1|2|a"]);
    check("id;amount;text;\"x,y,z,v\"\n1;2;a;b\n", &["1|2|a"]);
}

#[test]
fn an_empty_field_is_an_empty_text() {
    check("id;amount;text\n;;a\n\"\";\"\";\"b\"\n ;1;\n", &["-|-|a", "-|-|b", " |1|-"]);
}

#[test]
fn texts_are_left_as_they_are() {
    check("id;amount;text\n 1 ; 2 ; a b \n0x10;1e5;true\n", &[" 1 | 2 | a b ", "0x10|1e5|true"]);
    check("id;amount;text\n1;2;a\0b\n", &["1|2|a\0b"]);
    check("id;amount;text\n1;2;a\rb\n", &["1|2|a\rb"]);
    check("id;amount;text\n\u{feff}1;2;a\n", &["\u{feff}1|2|a"]);
    check("id;amount;text\n1;2;#\n#1;2;a\n", &["1|2|#", "#1|2|a"]);
}

#[test]
fn quotes() {
    check("id;amount;text\n\"1\";2;\"a;b\"\n", &["1|2|a;b"]);
    check("id;amount;text\n1;2;\"a\nb\r\n\"\n2;3;c\n", &["1|2|a\nb\r\n", "2|3|c"]);
    check("id;amount;text\n1;2;\"say \"\"hi\"\"\"\n", &["1|2|say \"hi\""]);
    check("id;amount;text\n1;2;a \"b\" c\n1;2;a\"\n", &["1|2|a \"b\" c", "1|2|a\""]);
}

#[test]
fn line_ends() {
    check("id;amount;text\r\n1;2;a\r\n2;3;b\r\n", &["1|2|a", "2|3|b"]);
    check("id;amount;text\r\n1;2;a\n2;3;b", &["1|2|a", "2|3|b"]);
    check("id;amount;text\n1;2;\"a\"", &["1|2|a"]);
    check("id;amount;text\n1;2;\"a\"\r\n", &["1|2|a"]);
    check("id;amount;text\n\n1;2;a\n\r\n\n2;3;b\n\n\r\n", &["1|2|a", "2|3|b"]);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    check("\u{feff}id;amount;text\n1;2;a\n", &["1|2|a"]);
    check("\u{feff}\"id\";amount;text\n1;2;a\n", &["1|2|a"]);
}

#[test]
fn a_header_alone_is_a_table_without_rows() {
    check("id;amount;text\n", &[]);
    check("id;amount;text", &[]);
    check("id;amount;text\r\n\r\n\n", &[]);
}

#[test]
fn amounts_stand_as_they_are_in_the_file() {
    let content = "id;amount;text\n1;2,5;a\n2;3.5;b\n3; 1.234,56;c\n4;1'000;d\n";
    let expected = ["1|2,5|a", "2|3.5|b", "3| 1.234,56|c", "4|1'000|d"];
    for decimal in [Decimal::Auto, Decimal::Comma, Decimal::Point] {
        check_with(&settings("utf-8", decimal), content, &expected);
    }
}

#[test]
fn other_encodings_by_name() {
    let latin = b"id;amount;text;pr\xe9nom\n1;2,5;caf\xe9;x\n2;3,5;\x80;y\n";
    check_with(&settings("windows-1252", Decimal::Auto), latin, &["1|2,5|café", "2|3,5|€"]);
    check_with(&settings("iso-8859-1", Decimal::Auto), latin, &["1|2,5|café", "2|3,5|€"]);
    let japanese = b"id,amount,text\n1,2.5,\x83\x65\x83\x58\n2,3,\"\x95\\\"\n";
    check_with(&settings("shift_jis", Decimal::Auto), japanese, &["1|2.5|テス", "2|3|表"]);
}

#[tokio::test]
async fn what_travels_with_a_row() {
    let items = read(
        "\u{feff}text;\"id\";amount\r\n\"a\nb\";7;2,5\r\nc;\"8\"\"\";1\nd;;1",
        &Settings::default(),
    )
    .await;
    let payloads: Vec<&[u8]> = items.iter().map(payload).collect();
    assert_eq!(payloads, [b"\"a\nb\";7;2,5".as_slice(), b"c;\"8\"\"\";1", b"d;;1"]);
    let keys: Vec<_> = items.iter().map(|item| item.raw.key.as_deref()).collect();
    assert_eq!(keys, [Some(b"7".as_slice()), Some(b"8\""), None]);
    for item in &items {
        assert_eq!(header(item, "csv.header"), Some(b"text;\"id\";amount".as_slice()));
        assert_eq!(header(item, "csv.delimiter"), Some(b";".as_slice()));
        assert_eq!(header(item, "csv.decimal"), Some(b"comma".as_slice()));
        assert_eq!(header(item, "csv.encoding"), Some(b"UTF-8".as_slice()));
        assert_eq!(item.raw.headers.len(), 4);
    }
    let items = read("id\tamount\ttext\n1\t2.5\ta", &settings("latin1", Decimal::Auto)).await;
    assert_eq!(header(&items[0], "csv.delimiter"), Some(b"\t".as_slice()));
    assert_eq!(header(&items[0], "csv.decimal"), Some(b"point".as_slice()));
    assert_eq!(header(&items[0], "csv.encoding"), Some(b"windows-1252".as_slice()));
}
