//! Files that are refused before a row is read.

use std::path::Path;

use tally_adapter_csv::{CsvFile, Settings};
use tally_domain::Flow;
use tally_domain::transactions::Transactions;
use tally_ports::{Stop, StopKind};

use crate::support::{COLUMNS, file_of, open};

async fn refused(path: &Path, settings: &Settings) -> Stop {
    CsvFile::open(path, settings, COLUMNS).await.unwrap_err()
}

/// `{}` in `expected` stands for the path.
async fn check(content: impl AsRef<[u8]>, expected: &str) {
    let file = file_of(content);
    let stop = refused(file.path(), &Settings::default()).await;
    assert_eq!(stop.message.replace(&file.path().display().to_string(), "{}"), expected);
    assert_eq!(stop.kind, StopKind::Input);
}

#[tokio::test]
async fn no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.csv");
    let stop = refused(&path, &Settings::default()).await;
    assert_eq!(stop.message, format!("cannot open {}: no such file", path.display()));
    assert_eq!(stop.kind, StopKind::Input);

    let stop = refused(folder.path(), &Settings::default()).await;
    assert_eq!(
        stop.message,
        format!("cannot read {}: it is a folder; name the files in it", folder.path().display())
    );
    assert_eq!(stop.kind, StopKind::Input);

    let stop = refused(Path::new("/dev/null"), &Settings::default()).await;
    assert_eq!(
        stop.message,
        "cannot read /dev/null: it is no regular file and cannot be read twice, once for its hash and once for its rows; copy it to one"
    );
}

#[tokio::test]
async fn no_text() {
    check("", "{} is empty").await;
    let zip = "{} is compressed with zip, as an .xlsx workbook is: if it is one, save as CSV in the program that shows it; \
               else unpack it first";
    check(b"PK\x03\x04rest", zip).await;
    let workbook = "{} is an .xls workbook: save as CSV in the program that shows it";
    check(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", workbook).await;
    check(b"BZh91AY&SYrest", "{} is compressed with bzip2: unpack it first").await;
    check(b"\xfd7zXZ\0rest", "{} is compressed with xz: unpack it first").await;
    check(b"\xff\xfe\0\0i\0\0\0", "{} is UTF-32: convert it first, with iconv -f UTF-32 -t UTF-8")
        .await;
    check(b"\0\0\xfe\xff\0\0\0i", "{} is UTF-32: convert it first, with iconv -f UTF-32 -t UTF-8")
        .await;
    let zeros = "{} is no text: its first line holds zero bytes; if it is UTF-16 without a byte order mark, convert it with iconv -f UTF-16LE -t UTF-8";
    check(b"i\0d\0;\0", zeros).await;
    check([b"\x7fELF\0".as_slice(), &vec![7; 3_000_000]].concat(), zeros).await;
    let encoding =
        "{} is no text in UTF-8: set csv.encoding to the one that it has, such as windows-1252";
    check(b"id;amount;text;pr\xe9nom\n1;2;3;4\n", encoding).await;
    check("x".repeat(1_048_577), "{} is not a CSV table: its first line is longer than 1 MiB")
        .await;
    check("x".repeat(5_000_000), "{} is not a CSV table: its first line is longer than 1 MiB")
        .await;
}

#[tokio::test]
async fn no_header() {
    let blank = "{} holds no line with anything in it: a header is needed: id, amount, text";
    check("\n\r\n\n", blank).await;
    check("\u{feff}", blank).await;
    check("1;2;a\n", "{} has no header: its first line names none of the columns id, amount, text: map other names by csv.columns")
        .await;
    check(
        "id;amount;text\r1;2;a\r",
        "{} is not a CSV table: its lines end with CR alone; convert them to LF",
    )
    .await;
    check(
        "id;amount;note\n",
        "{} lacks the column text; it has id, amount, note: map other names by csv.columns",
    )
    .await;
    check(
        "id,Amount\n",
        "{} lacks the column text; it has id, Amount: map other names by csv.columns",
    )
    .await;
    check("id;amount;text;amount\n", "{} has the column amount more than once").await;
    check(
        "id:amount:text\n",
        "{} has no header: its first line names none of the columns id, amount, text: map other names by csv.columns",
    )
    .await;
    let quotes = "{} has a header that cannot be split: a quote is not closed, or text follows it";
    check("\"id;amount;text\n1;2;a\n", quotes).await;
    check("\"id\"x;amount;text\n1;2;a\n", quotes).await;
    let wide: Vec<String> = (0..100).map(|column| format!("c{column}")).collect();
    let shown = wide[..49].join(", ");
    check(
        format!("id;{}\n", wide.join(";")),
        &format!("{{}} lacks the columns amount, text; it has id, {shown}, ...: map other names by csv.columns"),
    )
    .await;
}

#[tokio::test]
async fn a_wrong_encoding_is_a_wrong_setting() {
    let file = file_of("id;amount;text\n");
    for encoding in ["utf-16", "utf-16le", "iso-2022-jp", "nonsense"] {
        let settings = Settings { encoding: encoding.to_owned(), ..Settings::default() };
        assert_eq!(refused(file.path(), &settings).await.kind, StopKind::Setting, "{encoding}");
    }
    let file = file_of("\u{feff}id;amount;text\n");
    let settings = Settings { encoding: "latin1".to_owned(), ..Settings::default() };
    let stop = refused(file.path(), &settings).await;
    let path = file.path().display();
    assert_eq!(
        stop.message,
        format!(
            "{path} starts with the byte order mark of UTF-8, but csv.encoding is windows-1252: set it to utf-8"
        )
    );
}

#[tokio::test]
async fn unknown_columns_are_named() {
    let file = file_of("note;id;amount;;text;note;\"Café, bar\"\n");
    let file = open(&file, &Settings::default()).await;
    assert_eq!(file.unknown_columns(), ["note", "Café, bar"]);
}

#[tokio::test]
async fn the_sample_is_a_table_of_transactions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/transactions_fr.csv");
    let flow = Transactions::default();
    let file = CsvFile::open(path, &Settings::default(), flow.columns()).await.unwrap();
    assert!(file.unknown_columns().is_empty());
}
