//! What a commit writes.

use std::sync::Arc;

use serde_json::json;
use tally_domain::Field;
use tally_domain::transactions::Transactions;
use tally_ports::{Begin, Claim, Commit, Committed, Fault, Lease, Positions, Sink};
use uuid::Uuid;

use super::claims::own;
use super::{BATCHES, DEAD_LETTERS, POSITIONS, Record, Store, TRANSACTIONS};
use crate::build::{self, LONG, dead_letter, plain_commit, row, rows, stream};

/// One call of a sink.
pub(super) async fn commit(sink: &impl Sink, commit: Commit) -> Result<Committed, Fault> {
    sink.commit(&Arc::new(commit)).await
}

/// Everything in the store that a commit may touch, but for leases.
pub(super) async fn everything(store: &impl Store) -> [Vec<Record>; 4] {
    let positions = store.read(&POSITIONS).await;
    let place = |row: Record| {
        POSITIONS.record(POSITIONS.columns().map(|column| match column {
            "owner" | "lease_until" | "updated_at" | "epoch" => None,
            _ => row.get(column).map(str::to_owned),
        }))
    };
    [
        store.read(&TRANSACTIONS).await,
        store.read(&DEAD_LETTERS).await,
        store.read(&BATCHES).await,
        positions.into_iter().map(place).collect(),
    ]
}

/// Rows, dead letters, the ledger's entry and the position, with every column.
pub async fn a_commit_writes_all_of_a_batch(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let batch =
        build::commit(&position, &stream, 0..=9, rows(0..=7), vec![dead_letter(8), dead_letter(9)]);
    let id = batch.id;
    let committed = commit(&sink, batch).await.unwrap();
    assert_eq!(committed, Committed { written: 8, ..Committed::default() });

    let written = store.read(&TRANSACTIONS).await;
    assert_eq!(written.len(), 8);
    let row = &written[7];
    assert_eq!(&row["id"], "00000000-0000-0000-0000-000000000007");
    assert_eq!(
        (&row["description"], &row["merchant"]),
        ("CB BOULANGERIE \"L'Épi d'or\"", "L'Épi d'or")
    );
    assert_eq!((&row["amount"], &row["side"]), ("-12.34", "debit"));
    assert!(
        ["2024-01-15 08:30:00.25", "2024-01-15 08:30:00.250", "2024-01-15 08:30:00.250000"]
            .contains(&&row["timestamp"])
    );
    assert_eq!((&row["operation_type"], &row["category"]), ("payment", "Food"));
    assert_eq!((row.number("origin"), row.number("position")), (position.lease.position_id, 7));

    let [entry] = store.read(&BATCHES).await.try_into().unwrap();
    assert_eq!(&entry["id"], id.to_string());
    assert_eq!(
        (&entry["flow"], &entry["stream"], &entry["partition"]),
        ("transactions", "file/1", "0")
    );
    assert_eq!(
        (&entry["pass"], &entry["first"], &entry["last"], &entry["read"]),
        ("1", "0", "9", "10")
    );
    assert_eq!((&entry["written"], &entry["superseded"], &entry["skipped"]), ("8", "0", "0"));
    assert_eq!(
        (&entry["dead_lettered"], entry.get("gap"), &entry["worker"]),
        ("2", None, "worker-1")
    );
    assert_eq!(entry.json("quality")["missing_merchant"]["positions"], json!([3]));
    assert!(entry.get("started_at").is_some() && entry.get("committed_at").is_some());

    let letters = store.read(&DEAD_LETTERS).await;
    assert_eq!(letters.iter().map(|letter| letter.number("position")).collect::<Vec<_>>(), [8, 9]);
    let letter = &letters[0];
    assert_eq!(
        (&letter["flow"], &letter["stream"], &letter["partition"]),
        ("transactions", "file/1", "0")
    );
    assert_eq!((&letter["pass"], &letter["attempt"], &letter["state"]), ("1", "1", "open"));
    assert_eq!((&letter["stage"], &letter["code"]), ("decode", "fields"));
    assert_eq!(
        (&letter["message"], &letter["batch_id"]),
        ("the record has too few fields", &*id.to_string())
    );
    assert!(letter.get("failed_at").is_some() && letter.get("published_at").is_none());

    let [place] = store.read(&POSITIONS).await.try_into().unwrap();
    assert_eq!((place.number("next"), place.json("cursor")), (10, json!({ "byte": 1000 })));
}

/// Committing keeps the lease alive; only while it is held.
pub async fn a_commit_renews_the_lease(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let mut position = own(&sink, &stream, "a", LONG / 4).await;
    position.lease = Lease { duration: LONG, ..position.lease };
    commit(&sink, plain_commit(&position, &stream, 0..=1)).await.unwrap();

    let claim = sink.claim(&stream, "b", LONG, Begin::default()).await.unwrap();
    let Claim::Held { remaining, .. } = claim else { panic!("{claim:?}") };
    assert!(remaining > LONG / 2, "{remaining:?}");

    sink.release(&position.lease).await.unwrap();
    commit(&sink, plain_commit(&position, &stream, 2..=3)).await.unwrap();
    let [place] = store.read(&POSITIONS).await.try_into().unwrap();
    assert!(place.get("owner").is_none() && place.get("lease_until").is_none(), "{place:?}");
    assert_eq!(
        own(&sink, &stream, "b", LONG).await.next,
        4,
        "a late commit of who released is good, and holds nothing"
    );
}

/// A range without records is passed with an entry in the ledger.
pub async fn an_empty_batch_moves_the_position(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let committed = commit(&sink, build::commit(&position, &stream, 0..=41, vec![], vec![])).await;
    assert_eq!(committed, Ok(Committed::default()));

    let [entry] = store.read(&BATCHES).await.try_into().unwrap();
    assert_eq!(
        (&entry["first"], &entry["last"], &entry["read"], &entry["dead_lettered"]),
        ("0", "41", "0", "0")
    );
    assert!(entry.get("gap").is_none());
    assert_eq!(own(&sink, &stream, "a", LONG).await.next, 42);
}

/// After a COMMIT with an unknown outcome the caller calls again: the answer is the same and nothing changes.
pub async fn the_same_batch_twice_changes_nothing(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let rows =
        vec![row(0, 1, "5"), row(1, 1, "6"), row(2, 2, "500"), row(3, 3, "-7"), row(4, 4, "500")];
    let batch = Arc::new(build::commit(&position, &stream, 0..=5, rows, vec![dead_letter(5)]));
    let first = sink.commit(&batch).await.unwrap();
    assert_eq!((first.written, first.superseded, first.refused.len()), (2, 1, 2));
    let before = everything(store).await;

    assert_eq!(sink.commit(&batch).await.unwrap(), first);
    assert_eq!(store.open().await.commit(&batch).await.unwrap(), first);
    assert_eq!(everything(store).await, before);

    // Also after later batches, and when another process owns the position now.
    commit(&sink, plain_commit(&position, &stream, 6..=7)).await.unwrap();
    own(&sink, &stream, "a", LONG).await;
    let before = everything(store).await;
    assert_eq!(sink.commit(&batch).await.unwrap(), first);
    assert_eq!(everything(store).await, before);
}

/// The store returns cursor and statistics unchanged, floats bit by bit.
pub async fn cursor_and_statistics_come_back_exactly(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Transactions>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let floats = [
        0.1 + 0.2,
        -1e-320,
        f64::MAX,
        f64::MIN_POSITIVE,
        1e23,
        123_456_789.123_456_78,
        5e-324,
        -0.0,
    ];
    let mut batch = plain_commit(&position, &stream, 0..=0);
    batch.stats = json!({ "floats": floats, "count": u64::MAX });
    batch.cursor = json!({ "byte": i64::MAX, "text": "é\u{1F600}\"\\", "nothing": null });
    let (stats, cursor) = (batch.stats.clone(), batch.cursor.clone());
    commit(&sink, batch).await.unwrap();

    let next = own(&sink, &stream, "a", LONG).await;
    assert_eq!((&next.stats, &next.cursor), (&stats, &cursor));
    let bits = |value: &serde_json::Value| value.as_f64().unwrap().to_bits();
    let stored: Vec<_> = next.stats["floats"].as_array().unwrap().iter().map(bits).collect();
    assert_eq!(stored, floats.map(f64::to_bits));
}

/// An upsert replaces every column; which record of which source wrote a row is part of it.
pub async fn a_later_batch_replaces_the_rows_of_its_keys(store: &impl Store) {
    let sink = store.open().await;
    let (one, two) = (stream::<Transactions>("file/1"), stream::<Transactions>("file/2"));
    let first = own(&sink, &one, "a", LONG).await;
    let second = own(&sink, &two, "a", LONG).await;
    commit(&sink, plain_commit(&first, &one, 0..=2)).await.unwrap();
    let mut fields = build::fields(1, "99.90");
    let [_, description, _, timestamp, merchant, operation_type, _] = &mut fields[..] else {
        panic!("seven columns")
    };
    (*description, *merchant) = (Field::Absent, Field::Null);
    *timestamp = Field::Text("2025-12-31 23:59:59".into());
    *operation_type = Field::Text("refund".into());
    let mut newer = row(7, 1, "1");
    newer.record = build::record(fields, "Travel");
    let mut batch = build::commit(&second, &two, 0..=7, vec![newer], vec![]);
    batch.id = Uuid::now_v7();
    commit(&sink, batch).await.unwrap();

    let written = store.read(&TRANSACTIONS).await;
    let origins: Vec<_> = written.iter().map(|row| row.number("origin")).collect();
    assert_eq!(
        origins,
        [first.lease.position_id, second.lease.position_id, first.lease.position_id]
    );
    let row = &written[1];
    assert_eq!((&row["description"], row.get("merchant"), &row["amount"]), ("", None, "99.90"));
    assert_eq!((&row["timestamp"], &row["operation_type"]), ("2025-12-31 23:59:59", "refund"));
    assert_eq!((&row["side"], &row["category"], &row["position"]), ("credit", "Travel", "7"));
}
