//! A flow with an effect other than an upsert, whose tables no adapter knows.

use std::sync::Arc;

use tally_ports::{Committed, Refused, Sink};

use super::claims::own;
use super::commits::commit;
use super::{BATCHES, DEAD_LETTERS, Store, VISITS};
use crate::build::{self, LONG, stream};
use crate::visits::{Visits, visit};

/// Every record is a row, equal ones too, and committing again adds none.
pub async fn appended_rows_are_not_doubled(store: &impl Store) {
    let sink = store.open().await;
    let (one, two) = (stream::<Visits>("file/1"), stream::<Visits>("file/2"));
    let first = own(&sink, &one, "a", LONG).await;
    let second = own(&sink, &two, "a", LONG).await;
    let rows = || vec![visit(0, "ann", "/"), visit(1, "bob", "/"), visit(2, "ann", "/")];
    for (position, stream) in [(&first, &one), (&second, &two)] {
        let batch = Arc::new(build::commit(position, stream, 0..=2, rows(), vec![]));
        for _ in 0..2 {
            assert_eq!(
                sink.commit(&batch).await,
                Ok(Committed { written: 3, ..Committed::default() })
            );
        }
    }

    let visits = store.read(&VISITS).await;
    let mut expected = Vec::new();
    for stream in ["file/1", "file/2"] {
        expected.extend([(stream, 0, "ann"), (stream, 1, "bob"), (stream, 2, "ann")]);
    }
    let found: Vec<_> =
        visits.iter().map(|row| (&row["stream"], row.number("position"), &row["who"])).collect();
    assert_eq!(found, expected);
    assert_eq!((&visits[0]["page"], &visits[0]["at"]), ("/", "2024-01-15 08:30:00"));
    assert_eq!(store.read(&BATCHES).await.len(), 2);
}

/// The flow's own constraints make dead letters of its rows.
pub async fn appended_rows_can_be_refused(store: &impl Store) {
    let sink = store.open().await;
    let stream = stream::<Visits>("file/1");
    let position = own(&sink, &stream, "a", LONG).await;
    let rows = vec![visit(0, "ann", "/"), visit(1, "bob", ""), visit(2, "ann", "/")];
    let committed =
        commit(&sink, build::commit(&position, &stream, 0..=2, rows, vec![])).await.unwrap();

    let refused = Refused { position: 1, code: store.refusal_code().to_owned() };
    assert_eq!(
        committed,
        Committed { written: 2, superseded: 0, skipped: 0, refused: vec![refused] }
    );
    assert_eq!(store.read(&VISITS).await.len(), 2);
    let [letter] = store.read(&DEAD_LETTERS).await.try_into().unwrap();
    assert_eq!((&letter["flow"], &letter["position"], &letter["stage"]), ("visits", "1", "write"));
}
