//! Rows that are none: each becomes a dead letter with its reason, its bytes as they were and its key, its neighbours
//! are written, and the run goes on.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;
use tally_harness::job::{ModelService, Target};
use tally_sample::{Fault, Options, generate};

use crate::support::rows::{Rows, check, dead_letters};
use crate::support::{Folder, HEADER, assert_accounted, row, run, said, summary};

const OPEN: &str = "a quote is not closed until the end of the file";
const AFTER: &str = "after a closing quote comes something else than a delimiter or a line end";
const MIB: usize = 1 << 20;
const ID: &str = "id is neither a UUID nor an integer from 0 to 2^128 - 1";
const AMOUNT: &str = "amount is not a decimal number";
const POINT: &str =
    "amount can only be read with a decimal point, but that of the file is a comma (csv.decimal)";
const COMMA: &str =
    "amount can only be read with a decimal comma, but that of the file is a point (csv.decimal)";
const GROUPS: &str = "amount has thousands that are not in groups of three digits";
const RANGE: &str =
    "amount has more than ten digits before or more than two after the decimal separator";
const DEBIT: &str = "amount of a debit is not below 0";
const TIME: &str = "timestamp is not a date with a time, like 2024-01-31 23:59:59 (the form in a file: csv.timestamp_formats)";

/// Files whose rows cannot be framed or decoded. The ids of all are different.
fn unframed() -> Vec<Rows> {
    let at = |line: u32, problem: &str| format!("line {line}: {problem}");
    let open = "22;\"never closed;-1,50;2024-01-15 08:30:00;RATP;payment;debit";
    let open_last = "32;x;-1,50;2024-01-15 08:30:00;RATP;payment;\"debit";
    let open_end = "41;x;-1,50;2024-01-15 08:30:00;RATP;payment;\"debit";
    let long = format!("51;{};-1,50;2024-01-15 08:30:00;RATP;payment;debit", "x".repeat(MIB));
    let long_start = "61;\"two lines";
    let long_end = format!("{}\";1;2;3;4;5", "x".repeat(MIB - 20));
    let latin1 = b"71;caf\xe9;-1,50;2024-01-15 08:30:00;RATP;payment;debit";
    vec![
        Rows::new("too short", format!("{}2;x;-1,50\n{}\n3\n{}", row(1), row(4), row(5)))
            .letter(1, ("fields", &at(3, "3 fields instead of 7")), None, "2;x;-1,50")
            .letter(3, ("fields", &at(6, "1 field instead of 7")), None, "3")
            .neighbours([0, 2, 4]),
        Rows::new("too long", format!("{}{};more\n{}", row(11), row(12).trim_end(), row(13)))
            .letter(
                1,
                ("fields", &at(3, "8 fields instead of 7")),
                None,
                format!("{};more", row(12).trim_end()),
            )
            .neighbours([0, 2]),
        // The next quote in the file seems to close it.
        Rows::new(
            "open quote",
            format!(
                "{}{open}\n{}{}",
                row(21),
                row(23),
                "24;\"x\";1,5;2024-01-15 08:30:00;;refund;credit"
            ),
        )
        .letter(1, ("unframed", &at(3, AFTER)), None, open)
        .neighbours([0, 2])
        .written(["3|x|1.50"]),
        // No other quote comes.
        Rows::new(
            "open quote in the last column",
            format!("{}{open_last}\r\n{}", row(31), row(33).replace('"', "")),
        )
        .letter(1, ("unframed", &at(3, OPEN)), None, open_last)
        .neighbours([0, 2]),
        Rows::new("open quote at the end", format!("{}{open_end}", row(42)))
            .letter(1, ("unframed", &at(3, OPEN)), None, open_end)
            .neighbours([0]),
        Rows::new("text after a quote", format!("{}44;\"a\"b;1;2;3;4;5\n{}", row(43), row(45)))
            .letter(1, ("unframed", &at(3, AFTER)), None, "44;\"a\"b;1;2;3;4;5")
            .neighbours([0, 2]),
        Rows::new("over 1 MiB in one line", format!("{long}\n{}", row(52)))
            .letter(
                0,
                ("too_long", &at(2, "the record that starts here is longer than 1 MiB")),
                None,
                &long[..MIB],
            )
            .with("truncated", "true")
            // What follows is behind the first 256 KiB.
            .with("csv.decimal", "undecided")
            .neighbours([1]),
        Rows::new("over 1 MiB in two lines", format!("{long_start}\n{long_end}\n{}", row(62)))
            .letter(
                0,
                ("too_long", &at(2, "the record that starts here is longer than 1 MiB")),
                None,
                long_start,
            )
            .letter(1, ("fields", &at(3, "6 fields instead of 7")), None, &long_end)
            .with("csv.decimal", "undecided")
            .neighbours([2]),
        Rows::new("not UTF-8", [latin1, b"\n".as_slice(), row(72).as_bytes()].concat())
            .letter(
                0,
                ("encoding", &at(2, "column description is not valid UTF-8 (csv.encoding)")),
                Some("71"),
                latin1,
            )
            .neighbours([1]),
    ]
}

/// Files of which every row is valid, however they are written.
fn valid() -> Vec<Rows> {
    let header = HEADER.trim_end();
    let (comma, tab) = (header.replace(';', ","), header.replace(';', "\t"));
    vec![
        Rows::whole("byte order mark", header, format!("\u{feff}{HEADER}{}", row(101))).neighbours([0]),
        Rows::new("CRLF", format!("{}\r\n{}", row(111).replace('\n', "\r\n"), row(112))).neighbours([0, 1]),
        Rows::new("no last newline", row(121).trim_end()).neighbours([0]),
        Rows::new(
            "quoted line ends",
            "131;\"two\nlines\r\nand \"\"quotes\"\"; too\";-1;2024-01-15T08:30:00Z;\"\n\";payment;\"debit\"\n",
        )
        .written(["0|two\nlines\r\nand \"quotes\"; too|-1.00"]),
        Rows::whole("comma and point", &comma, format!("{comma}\n141,\"a,b\",-1.50,2024-01-15 08:30:00,,payment,debit\n"))
            .written(["0|a,b|-1.50"]),
        Rows::whole("tab", &tab, format!("{tab}\n151\ta;b\t1,5\t2024-01-15 08:30:00\t\trefund\tcredit\n"))
            .written(["0|a;b|1.50"]),
        Rows::whole(
            "other order",
            "side;amount;id;timestamp;operation_type;merchant;description",
            "side;amount;id;timestamp;operation_type;merchant;description\ndebit;-7,1;161;2024-01-15 08:30:00;gift;;x\n",
        )
        .written(["0|x|-7.10"]),
        Rows::new(
            "ids",
            "0;zero;1;2024-01-15 08:30:00;;;credit\n\
             340282366920938463463374607431768211455;last;1;2024-01-15 08:30:00;;;credit\n\
             A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11;uuid;1;2024-01-15 08:30:00;;;credit\n",
        )
        .written(["0|zero|1.00", "1|last|1.00", "2|uuid|1.00"]),
    ]
}

/// A file with a valid row, then one whose `column` holds `value`, and so on.
fn invalid(name: &'static str, first_id: u32, cases: &[(&str, &str, &str, &str)]) -> Rows {
    let columns: Vec<&str> = HEADER.trim_end().split(';').collect();
    let mut content = String::new();
    let mut letters = Vec::new();
    for (id, (column, value, code, message)) in (first_id..).step_by(2).zip(cases) {
        let valid = row(id);
        let mut fields: Vec<&str> = valid.trim_end().split(';').collect();
        fields[columns.iter().position(|name| name == column).unwrap()] = value;
        let line = fields.join(";");
        letters.push((code, message, fields[0].to_owned(), line.clone()));
        writeln!(content, "{}{line}", row(id + 1)).unwrap();
    }
    let mut rows = Rows::new(name, content);
    for (position, (code, message, key, line)) in (1..).step_by(2).zip(&letters) {
        let key = (!key.is_empty()).then_some(key.as_str());
        rows = rows.letter(position, (code, message), key, line);
    }
    let valid = i64::try_from(cases.len()).unwrap();
    rows.neighbours((0..valid).map(|number| 2 * number))
}

/// Rows with a value that breaks a rule.
fn values() -> Vec<Rows> {
    let too_long = "é".repeat(1025);
    let too_long_type = "x".repeat(65);
    vec![
        invalid(
            "amounts",
            1000,
            &[
                ("amount", "1e5", "amount_invalid", "amount has an exponent: write it out"),
                ("amount", "NaN", "amount_invalid", AMOUNT),
                ("amount", "inf", "amount_invalid", AMOUNT),
                ("amount", "-12.34", "amount_invalid", POINT),
                ("amount", "1.234,56", "debit_sign", DEBIT),
                ("amount", "- 5", "amount_invalid", AMOUNT),
                ("amount", "12 EUR", "amount_invalid", "amount has a currency code: leave it out"),
                ("amount", "-1234,567", "amount_range", RANGE),
                ("amount", "1234,567", "amount_range", &format!("{RANGE};{DEBIT}")),
                ("amount", "-99999999999,99", "amount_range", RANGE),
                ("amount", "-0,00", "debit_sign", DEBIT),
                ("amount", "1,50", "debit_sign", DEBIT),
                ("amount", " ", "amount_missing", "amount is missing"),
            ],
        ),
        invalid(
            "other values",
            2000,
            &[
                ("id", "", "id_missing", "id is missing"),
                ("id", "-1", "id_invalid", ID),
                ("id", "1.0", "id_invalid", ID),
                ("id", "340282366920938463463374607431768211456", "id_invalid", ID),
                ("id", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "id_invalid", ID),
                ("id", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "id_invalid", ID),
                ("timestamp", "", "timestamp_missing", "timestamp is missing"),
                ("timestamp", "2024-02-30 10:00:00", "timestamp_invalid", TIME),
                ("timestamp", "2023-02-29 10:00:00", "timestamp_invalid", TIME),
                ("timestamp", "2024-13-01 10:00:00", "timestamp_invalid", TIME),
                ("timestamp", "2024-01-15 24:00:00", "timestamp_invalid", TIME),
                ("timestamp", "2024-01-15", "timestamp_invalid", TIME),
                ("timestamp", "15/01/2024 10:00:00", "timestamp_invalid", TIME),
                ("side", "", "side_missing", "side is missing"),
                ("side", "Debit", "side_unknown", "side is neither debit nor credit"),
                ("side", "credit", "credit_sign", "amount of a credit is not above 0"),
                ("merchant", "a\0b", "nul", "merchant contains U+0000"),
                (
                    "description",
                    &too_long,
                    "text_too_long",
                    "description is longer than 1024 characters",
                ),
                (
                    "operation_type",
                    &too_long_type,
                    "text_too_long",
                    "operation_type is longer than 64 characters",
                ),
            ],
        ),
    ]
}

/// In a file with decimal points, nine in ten, a comma is none, and all that is wrong with a row is told.
fn points() -> Rows {
    let points = (3003..3011).fold(String::new(), |points, id| {
        points + &format!("{id},x,-1.5,2024-01-15 08:30:00,,,debit\n")
    });
    Rows::whole(
        "points",
        "id,description,amount,timestamp,merchant,operation_type,side",
        "id,description,amount,timestamp,merchant,operation_type,side\n\
         3000,x,-1.5,2024-01-15 08:30:00,,,debit\n\
         3001,x,\"-12,34\",2024-01-15 08:30:00,,,debit\n\
         x,x\0,\"12,34.56\",soon,\0,,Debit\n"
            .to_owned()
            + &points,
    )
    .with("csv.delimiter", ",")
    .with("csv.decimal", "point")
    .written([0, 3, 4, 5, 6, 7, 8, 9, 10].map(|at| format!("{at}|x|-1.50")))
    .letter(
        1,
        ("amount_invalid", COMMA),
        Some("3001"),
        "3001,x,\"-12,34\",2024-01-15 08:30:00,,,debit",
    )
    .letter(
        2,
        (
            "id_invalid",
            &format!(
                "{ID};{GROUPS};side is neither debit nor credit;{TIME};\
                 description contains U+0000;merchant contains U+0000"
            ),
        ),
        Some("x"),
        "x,x\0,\"12,34.56\",soon,\0,,Debit",
    )
}

async fn check_all(target: &Target) {
    let files: Vec<Rows> =
        [unframed(), valid(), values(), vec![points()]].into_iter().flatten().collect();
    check(target, &ModelService::start(), &files, &[]).await;
}

#[tokio::test]
async fn each_becomes_its_dead_letter_on_sqlite() {
    check_all(&Target::sqlite()).await;
}

#[tokio::test]
async fn each_becomes_its_dead_letter_on_postgres() {
    check_all(&Target::postgres().await).await;
}

#[tokio::test]
async fn another_encoding_is_read_by_its_name() {
    let content = b"1;caf\xe9 \x80;-1,50;2024-01-15 08:30:00;;payment;debit\n2;\x81;1\n";
    let file = Rows::new("latin1", content)
        .with("csv.encoding", "windows-1252")
        .written(["0|café €|-1.50"])
        .letter(1, ("fields", "line 3: 3 fields instead of 7"), None, b"2;\x81;1");
    let env = [("TALLY_CSV__ENCODING", "latin1")];
    check(&Target::sqlite(), &ModelService::start(), &[file], &env).await;
}

#[tokio::test]
async fn a_decimal_separator_is_taken_by_its_name() {
    let file = Rows::new("points", row(1).replace("-1,50", "-1.50") + &row(2))
        .with("csv.decimal", "point-set")
        .neighbours([0])
        .letter(
            1,
            (
                "amount_invalid",
                "amount can only be read with a decimal comma, but that of the file is a point (csv.decimal)",
            ),
            Some("2"),
            row(2).trim_end(),
        );
    let env = [("TALLY_CSV__DECIMAL", "point")];
    check(&Target::sqlite(), &ModelService::start(), &[file], &env).await;
}

async fn check_repeated_ids(target: &Target) {
    let (folder, model) = (Folder::new(), ModelService::start());
    let version = |id: u32, text: &str| row(id).replace("CB RATP PARIS 02/08", text);
    let rows = [
        // The first batch: the last of an id wins.
        version(1, "first"),
        version(2, "only"),
        version(1, "second"),
        // The second: an invalid version has no say, a later batch overwrites.
        version(2, "newer"),
        version(3, "valid"),
        version(3, "invalid").replace("debit", "none"),
    ];
    let path = folder.write("ids.csv", HEADER.to_owned() + &rows.concat());
    let output = run(target, model.url(), &[path], &["--batch-size", "3"]);
    assert_eq!(output.code, Some(0), "{output}");

    let summary = summary(&output);
    assert_accounted(target, &summary).await;
    let counts = ["read", "written", "superseded", "dead_lettered"].map(|key| &summary[key]);
    assert_eq!(counts, [&json!(6), &json!(4), &json!(1), &json!(1)]);
    let found = target.query("select position, description from transactions order by id").await;
    let row = |position: &str, text: &str| vec![Some(position.to_owned()), Some(text.to_owned())];
    assert_eq!(found, [row("2", "second"), row("3", "newer"), row("4", "valid")]);
    let batches =
        target.query("select superseded, dead_lettered from batches order by first").await;
    assert_eq!(batches, [row("1", "0"), row("0", "1")]);
}

#[tokio::test]
async fn of_an_id_the_last_valid_version_wins_on_sqlite() {
    check_repeated_ids(&Target::sqlite()).await;
}

#[tokio::test]
async fn of_an_id_the_last_valid_version_wins_on_postgres() {
    check_repeated_ids(&Target::postgres().await).await;
}

async fn check_spoiled_sample(target: &Target) {
    let options = Options { spoil_share: 0.1, ..Options::default() };
    let mut content = Vec::new();
    generate(&options, &mut content).unwrap();
    let (folder, model) = (Folder::new(), ModelService::start());
    let path = folder.write("spoiled.csv", &content);
    let label = path.to_str().unwrap().to_owned();
    let output = run(target, model.url(), &[path], &[]);
    assert_eq!(output.code, Some(0), "{output}");
    // Of some thousand rows that follow each other more than a tenth have no merchant.
    assert_eq!(said(&output), ["WARN quality rule above its threshold"]);

    let faults: Vec<(u64, Fault)> =
        (1..=options.rows).filter_map(|row| Some((row, options.fault_of(row)?))).collect();
    let mut codes = BTreeMap::new();
    for (_, fault) in &faults {
        *codes.entry(fault.code()).or_insert(0) += 1;
    }
    let summary = summary(&output);
    assert_eq!(summary["dead_letters"], json!(codes));
    assert_eq!((&summary["dead_lettered"], &summary["written"]), (&json!(1000), &json!(9000)));
    assert_accounted(target, &summary).await;

    let lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').collect();
    let letters = dead_letters(target, &label).await;
    assert_eq!(letters.len(), faults.len());
    for (letter, (row, fault)) in letters.iter().zip(&faults) {
        let line = usize::try_from(*row).unwrap();
        assert_eq!(letter.position + 1, i64::try_from(*row).unwrap());
        assert_eq!(letter.code, fault.code(), "row {row}");
        assert!(letter.payload == lines[line], "row {row}: {letter:?}");
    }
}

#[tokio::test]
async fn the_spoiled_sample_loses_its_spoiled_rows_and_no_other_on_sqlite() {
    check_spoiled_sample(&Target::sqlite()).await;
}

#[tokio::test]
async fn the_spoiled_sample_loses_its_spoiled_rows_and_no_other_on_postgres() {
    check_spoiled_sample(&Target::postgres().await).await;
}
