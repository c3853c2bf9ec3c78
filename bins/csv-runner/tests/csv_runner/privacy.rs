//! Columns that no dead letter may hold.

use tally_harness::job::{Job, ModelService, Target};

use crate::support::{Folder, HEADER, SOON};

/// Refused by validation, by the database and by the file's frame: each without the merchant.
async fn masked(target: Target, merchant: &str, payload: &str, refuse: &str) {
    let (folder, model) = (Folder::new(), ModelService::start());
    let rows = [
        "1;CB;1,50;2024-01-15 08:30:00;\"Jane; \"\"J\"\"\";payment;debit\n",
        "2;CB;-1,50;2024-01-15 08:30:00;Jane;payment;debit\n",
        "3;Jane;short\n",
    ];
    let header = HEADER.replace("merchant", merchant);
    let path = folder.write("rows.csv", format!("{header}{}", rows.concat()));
    let empty = folder.write("empty.csv", HEADER);
    let job = |path| Job::new(&target.url()).model(model.url()).file(path);
    assert_eq!(job(empty).spawn().wait(SOON).code, Some(0));
    target.execute(refuse).await;

    let job = job(path).env("TALLY_CSV__COLUMNS", "{Shop=merchant}");
    let output = job.env("TALLY_PRIVACY__MASKED", "[\"merchant\"]").spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    let sql = format!("select stage, {payload}, headers from dead_letters order by position");
    let letters = target.query(&sql).await;
    let text = |row: usize, column: usize| letters[row][column].as_deref().unwrap();
    let found = [0, 1, 2].map(|row| (text(row, 0), text(row, 1)));
    let line = rows[2].trim_end();
    let hash = format!("{} bytes, BLAKE3 {}", line.len(), blake3::hash(line.as_bytes()).to_hex());
    assert_eq!(
        found,
        [
            ("validate", "1;CB;1,50;2024-01-15 08:30:00;***;payment;debit"),
            ("write", "2;CB;-1,50;2024-01-15 08:30:00;***;payment;debit"),
            ("decode", hash.as_str()),
        ]
    );
    for row in 0..3 {
        assert!(text(row, 2).contains("\"masked\""), "{letters:?}");
    }
}

#[tokio::test]
async fn masked_columns_are_in_no_dead_letter_sqlite() {
    let refuse =
        "create trigger refuse before insert on transactions begin select raise(ignore); end";
    masked(Target::sqlite(), "merchant", "cast(payload as text)", refuse).await;
}

#[tokio::test]
async fn masked_columns_are_in_no_dead_letter_postgres() {
    let refuse = "alter table transactions add check (amount > 0) not valid";
    masked(Target::postgres().await, "shop", "convert_from(payload, 'UTF8')", refuse).await;
}
