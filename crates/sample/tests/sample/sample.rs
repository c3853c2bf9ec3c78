//! What `generate` promises to those who build tests and benchmarks on its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tally_sample::{Delimiter, FAULTS, Fault, Options, generate};

fn bytes(options: &Options) -> Vec<u8> {
    let mut out = Vec::new();
    generate(options, &mut out).unwrap();
    out
}

/// The rows of a file with `;`, without the header, split at each `;`: no text of ours holds one.
fn rows(file: &[u8]) -> Vec<Vec<&[u8]>> {
    let lines = file.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n');
    lines.skip(1).map(|line| line.split(|&byte| byte == b';').collect()).collect()
}

#[test]
fn the_committed_sample_is_what_the_defaults_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/transactions_fr.csv");
    let committed = fs::read(path).unwrap();
    let same = committed == bytes(&Options::default());
    assert!(same, "make it anew: cargo run -p tally-sample -- 10000 > data/transactions_fr.csv");
}

#[test]
fn a_longer_file_starts_with_the_shorter_one() {
    let options = Options { rows: 50, spoil_share: 0.5, ..Options::default() };
    let longer = bytes(&Options { rows: 100, ..options });
    assert!(longer.starts_with(&bytes(&options)));
}

#[test]
fn another_seed_gives_other_rows() {
    let options = Options { rows: 50, ..Options::default() };
    assert_ne!(bytes(&options), bytes(&Options { seed: 43, ..options }));
}

#[test]
fn a_comma_between_fields_makes_a_point_in_amounts() {
    let options = Options { rows: 3, delimiter: Delimiter::Comma, ..Options::default() };
    let expected = "id,description,amount,timestamp,merchant,operation_type,side\n\
        1,\"CB RATP GRENOBLE 02/08\",-23.25,2025-08-02 23:45:10,\"RATP\",\"payment\",\"debit\"\n";
    assert!(bytes(&options).starts_with(expected.as_bytes()));
}

#[test]
fn shares_are_those_of_an_account() {
    let file = bytes(&Options::default());
    let rows = rows(&file);
    let debits = rows.iter().filter(|row| row[6] == b"\"debit\"").count();
    let without_merchant: Vec<_> = rows.iter().filter(|row| row[4] == b"\"\"").collect();
    assert!((6_000..=7_000).contains(&debits), "{debits} debits");
    assert!((700..1_000).contains(&without_merchant.len()), "{}", without_merchant.len());
    assert!(without_merchant.iter().all(|row| row[6] == b"\"credit\""));
    for kind in ["payment", "transfer", "direct_debit", "refund"] {
        let quoted = format!("\"{kind}\"");
        assert!(rows.iter().any(|row| row[5] == quoted.as_bytes()), "{kind}");
    }
}

#[test]
fn every_fault_comes_in_turn() {
    let options = Options { rows: 10_000, spoil_share: 0.05, ..Options::default() };
    let mut counts = BTreeMap::new();
    for fault in (1..=options.rows).filter_map(|row| options.fault_of(row)) {
        *counts.entry(fault.code()).or_insert(0) += 1;
    }
    // 500 spoiled rows: 29 turns of 17 faults, and the first 7 once more.
    let of = |code| counts[code];
    assert_eq!(counts.values().sum::<u32>(), 500);
    assert_eq!((of("id_missing"), of("amount_range"), of("side_missing")), (30, 60, 30));
    assert_eq!((of("side_unknown"), of("fields"), of("encoding")), (29, 58, 29));
    assert_eq!(counts.len(), 15);
}

#[test]
fn shares_at_the_edges() {
    let none = Options::default();
    assert!((0..=1_000).all(|row| none.fault_of(row).is_none()));
    let all = Options { spoil_share: 1.0, ..none };
    assert!((1..=1_000).all(|row| all.fault_of(row).is_some()));
    assert_eq!(all.fault_of(0), None);
}

#[test]
fn a_spoiled_row_has_its_fault_and_no_other() {
    let options = Options { rows: 2_000, spoil_share: 0.5, ..Options::default() };
    let file = bytes(&options);
    for (number, row) in (1..).zip(rows(&file)) {
        let expected: Vec<_> = options.fault_of(number).map(Fault::code).into_iter().collect();
        assert_eq!(faults_found(&row), expected, "row {number}");
    }
    let seen: Vec<_> = (1..=options.rows).filter_map(|row| options.fault_of(row)).collect();
    assert!(FAULTS.iter().all(|fault| seen.contains(fault)));
}

/// The codes that the rules of the transactions flow give a row, told here by our own, simpler means.
fn faults_found(row: &[&[u8]]) -> Vec<&'static str> {
    if row.len() != 7 {
        return vec!["fields"];
    }
    let text = row.iter().map(|field| std::str::from_utf8(field));
    let Ok(fields) = text.collect::<Result<Vec<_>, _>>() else { return vec!["encoding"] };
    let [id, description, amount, timestamp, merchant, _, side] = fields[..] else {
        unreachable!()
    };

    let negative = amount.starts_with('-');
    let (whole, cents) = amount.trim_start_matches('-').split_once(',').unwrap_or(("", ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let readable = digits(whole) && digits(cents);

    let mut found = Vec::new();
    let mut check = |wrong: bool, code| {
        if wrong {
            found.push(code);
        }
    };
    check(id.is_empty(), "id_missing");
    check(!id.is_empty() && !digits(id), "id_invalid");
    check(amount.is_empty(), "amount_missing");
    check(!amount.is_empty() && !readable, "amount_invalid");
    check(readable && (whole.len() > 10 || cents.len() > 2), "amount_range");
    check(side == "\"\"", "side_missing");
    check(!["\"\"", "\"debit\"", "\"credit\""].contains(&side), "side_unknown");
    check(readable && side == "\"debit\"" && !negative, "debit_sign");
    check(readable && side == "\"credit\"" && negative, "credit_sign");
    check(timestamp.is_empty(), "timestamp_missing");
    check(timestamp.contains("02-30"), "timestamp_invalid");
    check(description.contains('\0'), "nul");
    check(description.chars().count() > 1024 + 2, "text_too_long");
    check(merchant.chars().count() > 1024 + 2, "text_too_long");
    found
}
