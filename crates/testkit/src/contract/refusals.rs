//! Rows that the database refuses, and rows of one key.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tally_domain::transactions::Transactions;
use tally_domain::{Reason, Stage};
use tally_ports::{Committed, DeadLetter, DeadLetterBudget, Fault, Raw, Refused, Stop, StopKind};

use super::claims::own;
use super::commits::{commit, everything};
use super::{BATCHES, DEAD_LETTERS, Record, Store, TRANSACTIONS};
use crate::build::{self, LONG, dead_letter, row, stream};

#[track_caller]
fn assert_accounted_for(entry: &Record) {
    let parts =
        ["written", "superseded", "skipped", "dead_lettered"].map(|part| entry.number(part));
    assert_eq!(entry.number("read"), parts.iter().sum::<i64>(), "{entry:?}");
}

fn ids_and_amounts(rows: &[Record]) -> Vec<(u128, String, i64)> {
    let id = |row: &Record| row["id"].parse::<uuid::Uuid>().unwrap().as_u128();
    rows.iter().map(|row| (id(row), row["amount"].to_owned(), row.number("position"))).collect()
}

/// Of several rows of one key the last is written and the others are counted.
pub async fn the_last_of_a_key_wins(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let rows =
        vec![row(0, 2, "1"), row(1, 1, "2"), row(2, 2, "3"), row(3, 3, "4"), row(4, 2, "-5")];
    let committed =
        commit(&sink, build::commit(&position, &stream, 0..=4, rows, vec![])).await.unwrap();

    assert_eq!(committed, Committed { written: 3, superseded: 2, ..Committed::default() });
    let written = ids_and_amounts(&store.read(&TRANSACTIONS).await);
    assert_eq!(written, [(1, "2.00".into(), 1), (2, "-5.00".into(), 4), (3, "4.00".into(), 3)]);
    assert_accounted_for(&store.read(&BATCHES).await[0]);
}

/// When the last row of a key is refused, the one before it is written; when all are, the stored row stays.
pub async fn an_earlier_row_takes_the_place_of_a_refused_one(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let rows =
        vec![row(0, 1, "1"), row(1, 2, "7"), row(2, 1, "2"), row(3, 1, "500"), row(4, 3, "600")];
    let committed =
        commit(&sink, build::commit(&position, &stream, 0..=4, rows, vec![])).await.unwrap();
    let refused = |position| Refused { position, code: store.refusal_code().to_owned() };
    assert_eq!(
        committed,
        Committed { written: 2, superseded: 1, skipped: 0, refused: vec![refused(3), refused(4)] }
    );

    let rows = vec![row(5, 2, "800"), row(6, 2, "900"), row(7, 1, "3")];
    let committed =
        commit(&sink, build::commit(&position, &stream, 5..=7, rows, vec![])).await.unwrap();
    assert_eq!(
        committed,
        Committed { written: 1, superseded: 0, skipped: 0, refused: vec![refused(5), refused(6)] }
    );

    let written = ids_and_amounts(&store.read(&TRANSACTIONS).await);
    assert_eq!(written, [(1, "3.00".into(), 7), (2, "7.00".into(), 1)]);
    for entry in store.read(&BATCHES).await {
        assert_accounted_for(&entry);
        assert_eq!(&entry["dead_lettered"], "2");
    }
}

/// 101 refused of 1,000: each a dead letter with the database's code, their neighbours written.
pub async fn refused_rows_become_dead_letters(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let is_refused = |position: i64| position % 10 == 0 || position == 999;
    let amount = |position| if is_refused(position) { "500.00" } else { "-12.34" };
    // Ids in descending order: the store's order by key is not the order of the answers.
    let rows =
        (0..1_000).map(|at| row(at, 5_000 - u128::try_from(at).unwrap(), amount(at))).collect();
    let batch = build::commit(&position, &stream, 0..=1_000, rows, vec![dead_letter(1_000)]);
    let id = batch.id;
    let committed = commit(&sink, batch).await.unwrap();

    assert_eq!((committed.written, committed.superseded, committed.skipped), (899, 0, 0));
    let expected: Vec<_> = (0..1_000).filter(|&at| is_refused(at)).collect();
    assert_eq!(
        committed.refused.iter().map(|refused| refused.position).collect::<Vec<_>>(),
        expected
    );
    assert!(
        committed.refused.iter().all(|refused| refused.code == store.refusal_code()),
        "{committed:?}"
    );

    assert_eq!(store.read(&TRANSACTIONS).await.len(), 899);
    let [entry] = store.read(&BATCHES).await.try_into().unwrap();
    assert_eq!(
        (&entry["read"], &entry["written"], &entry["dead_lettered"]),
        ("1001", "899", "102")
    );
    assert_accounted_for(&entry);

    let mut letters = store.read(&DEAD_LETTERS).await;
    letters.pop().filter(|letter| &letter["stage"] == "decode").unwrap();
    assert_eq!(
        letters.iter().map(|letter| letter.number("position")).collect::<Vec<_>>(),
        expected
    );
    for letter in letters {
        let at = letter.number("position");
        let of = DeadLetter::first(
            at,
            Reason::refused_by_database(store.refusal_code(), store.refusing_constraint()),
            Raw::default(),
        );
        assert_eq!(&letter["id"], of.id(&stream, 1).to_string());
        assert_eq!((&letter["stage"], &letter["code"]), ("write", store.refusal_code()));
        assert_eq!(
            (&letter["message"], &letter["batch_id"]),
            (&*of.reason.message, &*id.to_string())
        );
        assert_eq!(letter.bytes("key").unwrap(), (5_000 - at).to_string().as_bytes());
        assert_eq!(letter.bytes("payload").unwrap(), format!("{},500.00", 5_000 - at).as_bytes());
    }
}

/// Key, payload and headers are kept as they were; nothing and emptiness are not the same.
pub async fn dead_letters_come_back_byte_for_byte(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = vec![0_u8; 1_000_000];
    let contents = [None, Some(vec![]), Some(vec![0]), Some(every_byte), Some(large)];
    let reason = || Reason::new(Stage::Validate, "nul", "merchant contains U+0000");
    let mut letters: Vec<_> = (0..)
        .zip(&contents)
        .map(|(at, content)| {
            let bytes = content.clone().map(Bytes::from);
            DeadLetter::first(
                at,
                reason(),
                Raw { key: bytes.clone(), payload: bytes, ..Raw::default() },
            )
        })
        .collect();
    letters.push(dead_letter(5));
    letters.push(DeadLetter { attempt: 2, ..dead_letter(5) });
    commit(&sink, build::commit(&position, &stream, 0..=5, vec![], letters.clone())).await.unwrap();

    let stored = store.read(&DEAD_LETTERS).await;
    assert_eq!(stored.len(), letters.len());
    for (row, letter) in stored.iter().zip(&letters) {
        assert_eq!(&row["id"], letter.id(&stream, 1).to_string());
        assert_eq!(
            (row.number("position"), row.number("attempt")),
            (letter.position, letter.attempt.into())
        );
        assert!(
            row.bytes("payload").as_deref() == letter.raw.payload.as_deref(),
            "payload of {}",
            letter.position
        );
        assert!(
            row.bytes("key").as_deref() == letter.raw.key.as_deref(),
            "key of {}",
            letter.position
        );
    }
    assert_eq!(stored[0].json("headers"), json!([]));
    assert_eq!(stored[5].json("headers"), json!([["csv.header", "aWQsYW1vdW50"], ["x", "AP8="]]));
}

/// Lets no row be refused.
#[derive(Debug)]
struct NoneRefused;

impl DeadLetterBudget for NoneRefused {
    fn admit(&self, refused: &[Refused]) -> Result<(), Stop> {
        if refused.is_empty() {
            return Ok(());
        }
        Err(Stop { kind: StopKind::Data, message: format!("{} refused", refused.len()) })
    }
}

/// Where no more dead letters may be, nothing of the batch is written, and the session goes on.
pub async fn a_batch_is_not_committed_when_too_many_rows_are_refused(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let before = everything(store).await;
    let rows = vec![row(0, 1, "1"), row(1, 2, "500"), row(2, 3, "600")];
    let mut batch = build::commit(&position, &stream, 0..=2, rows, vec![]);
    batch.dead_letter_budget = Some(Arc::new(NoneRefused));
    let Err(Fault::Stop(stop)) = commit(&sink, batch).await else { panic!("not stopped") };
    assert_eq!((stop.kind, stop.message.as_str()), (StopKind::Data, "2 refused"));
    assert_eq!(everything(store).await, before);

    let mut batch = build::plain_commit(&position, &stream, 0..=2);
    batch.dead_letter_budget = Some(Arc::new(NoneRefused));
    assert_eq!(commit(&sink, batch).await.unwrap().written, 3);
}
