//! Open dead letters whose row is written by a later pass or another file.

use std::sync::Arc;

use bytes::Bytes;
use tally_domain::transactions::Transactions;
use tally_domain::{Flow, Raw, Reason, Stage};
use tally_ports::{Begin, Claim, DeadLetter, Positions, Sink, Stream};

use super::claims::own;
use super::commits::commit;
use super::{DEAD_LETTERS, Store};
use crate::build::{self, LONG, row, stream};
use crate::visits::{Visits, visit};

fn letter(position: i64, key: &'static str) -> DeadLetter {
    let reason = Reason::new(Stage::Validate, "amount_invalid", "the amount is none");
    let raw = Raw { key: Some(Bytes::from_static(key.as_bytes())), ..Raw::default() };
    DeadLetter::first(position, reason, raw)
}

/// A batch of a stream's own: a dead letter for each key.
async fn fail<F: Flow + Default>(
    sink: &(impl Sink + Positions),
    name: &str,
    keys: &[&'static str],
) -> Arc<Stream> {
    let stream = stream::<F>(name);
    let position = own(sink, &stream, "a", LONG).await;
    let letters: Vec<_> = (0..).zip(keys).map(|(position, key)| letter(position, key)).collect();
    let last = i64::try_from(keys.len()).expect("a few") - 1;
    commit(sink, build::commit(&position, &stream, 0..=last, vec![], letters)).await.unwrap();
    sink.finish(&position.lease, last + 1, build::TOLERANCE).await.unwrap();
    stream
}

/// Stream, position, state and rule of all dead letters.
async fn states(store: &impl Store) -> Vec<String> {
    let rows = store.read(&DEAD_LETTERS).await;
    let shown = |row: &super::Record| {
        let rule = row.get("outdated_by").unwrap_or("-");
        format!("{} {} {} {rule}", &row["stream"], &row["position"], &row["state"])
    };
    let mut states: Vec<String> = rows.iter().map(shown).collect();
    states.sort();
    states
}

/// The row of a key that another file writes outdates the open dead letters of that key in files, and no other.
pub async fn a_later_file_outdates_the_dead_letters_of_its_keys(store: &impl Store) {
    let sink = store.open().await;
    fail::<Transactions>(&sink, "file/1", &["7", "8", "x"]).await;
    fail::<Transactions>(&sink, "group/topic", &["7"]).await;
    let other = stream::<Transactions>("file/2");
    let position = own(&sink, &other, "a", LONG).await;
    // 7 is written, a refused 8 is not, and what the same pass has refused stays.
    let batch = build::commit(
        &position,
        &other,
        0..=2,
        vec![row(2, 7, "-1")],
        vec![letter(0, "7"), letter(1, "8")],
    );
    commit(&sink, batch).await.unwrap();
    assert_eq!(
        states(store).await,
        [
            "file/1 0 outdated key",
            "file/1 1 open -",
            "file/1 2 open -",
            "file/2 0 open -",
            "file/2 1 open -",
            "group/topic 0 open -",
        ]
    );
}

/// A topic's key is not the id of its record.
pub async fn a_topic_outdates_no_dead_letter_by_its_key(store: &impl Store) {
    let sink = store.open().await;
    fail::<Transactions>(&sink, "file/1", &["7"]).await;
    let topic = stream::<Transactions>("group/topic");
    let position = own(&sink, &topic, "a", LONG).await;
    let batch = build::commit(&position, &topic, 0..=0, vec![row(0, 7, "-1")], vec![]);
    commit(&sink, batch).await.unwrap();
    assert_eq!(states(store).await, ["file/1 0 open -"]);
}

/// A record that is appended takes no other's place.
pub async fn appended_rows_outdate_no_dead_letter_by_their_keys(store: &impl Store) {
    let sink = store.open().await;
    fail::<Visits>(&sink, "file/1", &["7"]).await;
    let other = stream::<Visits>("file/2");
    let position = own(&sink, &other, "a", LONG).await;
    let mut appended = visit(0, "7", "/");
    appended.raw.key = Some(Bytes::from_static(b"7"));
    let batch = build::commit(&position, &other, 0..=0, vec![appended], vec![]);
    commit(&sink, batch).await.unwrap();
    assert_eq!(states(store).await, ["file/1 0 open -"]);
}

/// A later pass that takes a record outdates the dead letters of its position, and those of its key at others.
pub async fn a_later_pass_outdates_the_dead_letters_of_its_positions(store: &impl Store) {
    let sink = store.open().await;
    let file = fail::<Transactions>(&sink, "file/1", &["7", "8", "9"]).await;
    let again = Begin { again: true, ..Begin::default() };
    let Claim::Owned(position) = sink.claim(&file, "a", LONG, again).await.unwrap() else {
        panic!("not owned")
    };
    // The first under the key of its dead letter, the second under that of another.
    let rows = vec![row(0, 7, "-1"), row(1, 9, "-1")];
    let batch = build::commit(&position, &file, 0..=2, rows, vec![letter(2, "9")]);
    commit(&sink, batch).await.unwrap();
    assert_eq!(
        states(store).await,
        [
            "file/1 0 outdated position",
            "file/1 1 outdated position",
            "file/1 2 open -",
            "file/1 2 outdated key",
        ]
    );
}
