//! The decimal sign of a file: what is taken and what shows it.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::Value;
use tally_adapter_csv::{CsvFile, Decimal, Overrides, Settings, decode};
use tally_domain::amount::{DecimalSign, Notation};
use tally_ports::Raw;

use crate::support::{COLUMNS, file_of, header, next, open, read, read_on};

const COMMA: Notation = Notation::Shown(DecimalSign::Comma);
const POINT: Notation = Notation::Shown(DecimalSign::Point);

/// A table of these amounts.
fn table(amounts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut table = "id;amount;text\n".to_owned();
    for (id, amount) in amounts.into_iter().enumerate() {
        writeln!(table, "{id};{};x", amount.as_ref()).unwrap();
    }
    table
}

const NONE_IN_HEAD: &str = "decimal sign unknown: no amount in the first 256 KiB has one";

async fn opened(content: impl AsRef<[u8]>, settings: &Settings) -> CsvFile {
    open(&file_of(content), settings).await
}

async fn check(
    content: impl AsRef<[u8]>,
    notation: Notation,
    line: Option<u64>,
    explained: Option<&str>,
) {
    let file = opened(&content, &Settings::default()).await;
    let amounts = file.amounts();
    assert_eq!(
        (amounts.notation(), amounts.line(), amounts.explain().as_deref()),
        (notation, line, explained),
        "{}",
        content.as_ref()[..content.as_ref().len().min(100)].escape_ascii()
    );
}

#[tokio::test]
async fn the_sign_is_taken_that_amounts_show_whatever_the_delimiter() {
    let comma = "decimal comma (line 2)";
    check(table(["2,5", "-3,50", "1.234,5"]), COMMA, Some(2), Some(comma)).await;
    let point = "decimal point (line 3)";
    check(table(["1.234", "2.5", "7"]), POINT, Some(3), Some(point)).await;
    check("id,amount,text\n1,\"2,5\",a\n", COMMA, Some(2), Some(comma)).await;
    check("id\tamount\ttext\n1\t1\ta\n2\t2.5\ta\n", POINT, Some(3), Some(point)).await;
}

#[tokio::test]
async fn without_a_vote_it_is_undecided_whatever_the_delimiter() {
    let unclear = |line: u64| {
        format!(
            "decimal sign unknown: line {line} can be read as thousands or as decimals, and nothing in the first 256 KiB settles it: set csv.decimal to comma or point"
        )
    };
    check(table(["7", "-3,000"]), Notation::Undecided, None, Some(&unclear(3))).await;
    check("id,amount,text\n1,-3.000,a\n", Notation::Undecided, None, Some(&unclear(2))).await;
    // Nothing to decide.
    for content in [table(["7", "-3", "x", "", "(1,5)", "1 000"]), "id;amount;text\n".to_owned()] {
        check(content, Notation::Undecided, None, None).await;
    }
    // Something may follow.
    let none = Some(NONE_IN_HEAD);
    check(table(vec!["7"; 30_000]), Notation::Undecided, None, none).await;
}

#[tokio::test]
async fn nine_votes_in_ten_decide() {
    let votes = |comma: usize, point: usize| {
        table([vec!["1.5"; point], vec!["12,000"; 50], vec!["1,5"; comma]].concat())
    };
    let shown = Some("decimal comma (line 62)");
    check(votes(90, 10), COMMA, Some(62), shown).await;
    let split = "decimal sign unknown: decimal commas (line 62) and decimal points (line 2) are mixed: set \
                 csv.decimal to comma or point";
    check(votes(89, 10), Notation::Undecided, None, Some(split)).await;
    // One odd amount does not decide for the file, wherever it stands.
    let odd_first = table([vec!["12.50"], vec!["-1,50"; 499]].concat());
    check(odd_first, COMMA, Some(3), Some("decimal comma (line 3)")).await;
}

#[tokio::test]
async fn lines_are_physical_ones() {
    let content =
        "\n\"id\";amount;\"text\nof two lines\"\n1;2;\"a\nb\"\n\n;;\n3;4\n\"4\n\";1,5;a\n";
    let content = content.replace("\"text\nof two lines\"", "text;\"note\nof two lines\"");
    let content = content.replace(";\"a\nb\"", ";\"a\nb\";").replace("1,5;a", "1,5;a;");
    check(&content, COMMA, Some(9), Some("decimal comma (line 9)")).await;
}

/// Rows up to exactly this size after the header, then these.
fn padded(amount: &str, size: usize, rest: &str) -> String {
    let mut rows = String::new();
    while rows.len() + 400 < size {
        writeln!(rows, "1;{amount};{}", "x".repeat(100)).unwrap();
    }
    let row = format!("1;{amount};");
    let padding = size - rows.len() - row.len() - 1;
    format!("id;amount;text\n{rows}{row}{}\n{rest}", "x".repeat(padding))
}

#[tokio::test]
async fn the_first_256_kib_alone_decide() {
    const HEAD: usize = 256 * 1024;
    let votes = "2;1,5;\n".repeat(100);
    // A row that ends with the 256 KiB votes, one that ends a byte later does not; its line end does not count.
    let vote = "2;1,5;".len();
    let at_the_border = padded("7", HEAD - vote, &votes);
    assert_eq!(opened(&at_the_border, &Settings::default()).await.amounts().notation(), COMMA);
    let none = Some(NONE_IN_HEAD);
    check(padded("7", HEAD - vote + 1, &votes), Notation::Undecided, None, none).await;
    // Thousands of others behind it change nothing.
    let content = padded("1.5", HEAD, &"2;1,5;\n".repeat(50_000));
    check(content, POINT, Some(2), Some("decimal point (line 2)")).await;
}

#[tokio::test]
async fn rows_behind_an_unclosed_quote_vote() {
    let rows = "2;1,5;x\n".repeat(100_000);
    let content = format!("id;amount;text\n1;\"2;x\n{rows}");
    check(content, COMMA, Some(3), Some("decimal comma (line 3)")).await;
}

#[tokio::test]
async fn rows_that_are_no_records_do_not_vote() {
    check("id;amount;text\n1;1.5\n2;1.5;x;y\n3;\"1.5\"x;a\n4;1,5;x\n", COMMA, Some(5), {
        Some("decimal comma (line 5)")
    })
    .await;
}

/// A no-break space is a group sign in its file's encoding.
#[tokio::test]
async fn amounts_are_told_in_the_encoding_of_the_file() {
    let settings = Settings { encoding: "windows-1252".to_owned(), ..Settings::default() };
    let content = b"id;amount;text\n1;1\xa0234,567;\xe9\n";
    assert_eq!(opened(content, &settings).await.amounts().notation(), COMMA);
    check(content, Notation::Undecided, None, None).await;
}

#[tokio::test]
async fn a_sign_that_is_set_is_taken_whatever_amounts_show() {
    let content = table(["1.5", "1.234,5"]);
    for (decimal, sign) in
        [(Decimal::Comma, DecimalSign::Comma), (Decimal::Point, DecimalSign::Point)]
    {
        let settings = Settings { decimal, ..Settings::default() };
        let file = opened(&content, &settings).await;
        assert_eq!(file.amounts().notation(), Notation::Set(sign));
        assert_eq!(file.amounts().line(), None);
        assert_eq!(
            file.amounts().explain(),
            Some(format!("decimal {} (csv.decimal)", sign.as_str()))
        );
    }
}

#[tokio::test]
async fn a_resumed_reading_has_the_same_notation() {
    let file = file_of(table([vec!["1,5"; 10], vec!["1.5"; 500]].concat()).replace("510;", ""));
    let first = open(&file, &Settings::default()).await;
    let mut source = first.read_from(0, &Value::Null).await.unwrap();
    let batch = next(&mut source, 100).await.unwrap();
    assert_eq!(batch.notation, POINT);
    let again = open(&file, &Settings::default()).await;
    let mut source = again.read_from(100, &batch.cursor).await.unwrap();
    while let Some(batch) = next(&mut source, 100).await {
        assert_eq!(batch.notation, POINT);
    }
    assert_eq!(again.amounts(), first.amounts());
    assert_eq!(read_on(&again, 100, &batch.cursor, 7).await.unwrap().len(), 410);
}

#[tokio::test]
async fn a_dead_letter_says_how_its_amounts_are_read() {
    let set = |decimal| Settings { decimal, ..Settings::default() };
    for (settings, amount, word, notation) in [
        (set(Decimal::Auto), "1,5", "comma", COMMA),
        (set(Decimal::Auto), "1.5", "point", POINT),
        (set(Decimal::Auto), "1,500", "undecided", Notation::Undecided),
        (set(Decimal::Comma), "1,500", "comma-set", Notation::Set(DecimalSign::Comma)),
        (set(Decimal::Point), "1,500", "point-set", Notation::Set(DecimalSign::Point)),
    ] {
        let items = read(table([amount]), &settings).await;
        assert_eq!(header(&items[0], "csv.decimal"), Some(word.as_bytes()));
        let (fields, again) = decode(&items[0].raw, COLUMNS, &Overrides::default()).await.unwrap();
        assert_eq!((fields[1].text().as_deref(), again), (Some(amount), notation));
        assert_eq!(opened(table([amount]), &settings).await.amounts().decimal(), word);
    }
    let items = read(table(["1"]), &Settings::default()).await;
    let headers = items[0].raw.headers.iter().map(|(name, value)| {
        let is_decimal = name == "csv.decimal";
        (
            name.clone(),
            if is_decimal { Some(Bytes::from_static(b"semicolon")) } else { value.clone() },
        )
    });
    let raw = Raw { headers: headers.collect(), ..items[0].raw.clone() };
    let reason = decode(&raw, COLUMNS, &Overrides::default()).await.unwrap_err();
    assert_eq!((&*reason.code, &*reason.message), ("fields", "its header csv.decimal is unknown"));
}
