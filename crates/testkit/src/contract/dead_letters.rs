//! Dead letters that differ.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tally_domain::transactions::Transactions;
use tally_ports::{DeadLetter, Headers};

use super::claims::own;
use super::commits::commit;
use super::{DEAD_LETTERS, Store};
use crate::build::{self, LONG, dead_letter, row, stream};

/// Shared headers, equal ones and different ones, in any order, and none at all; also those of a refused row. Each in
/// order, with names that come twice and without a value.
pub async fn each_dead_letter_has_its_own_headers(store: &impl Store) {
    store.refuse_amounts_above(100).await;
    let sink = store.open().await;
    let stream = stream::<Transactions>("group/topic");
    let position = own(&sink, &stream, "a", LONG).await;
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let headers = |name: &str| -> Headers {
        [(name, value("1")), ("x", None), (name, value("2"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    };
    let (one, two) = (headers("one"), headers("two"));
    let all = [
        Arc::clone(&one),
        Arc::clone(&two),
        Arc::clone(&two),
        Headers::default(),
        one,
        headers("two"),
        headers("three"),
    ];
    let letter = |(position, headers): (i64, &Headers)| {
        let mut letter = dead_letter(position);
        letter.raw.headers = Arc::clone(headers);
        letter
    };
    let letters: Vec<DeadLetter> = (0..).zip(&all).map(letter).collect();
    let mut refused = row(7, 7, "500");
    refused.raw.headers = headers("refused");
    commit(&sink, build::commit(&position, &stream, 0..=7, vec![refused], letters)).await.unwrap();

    let names = ["one", "two", "two", "", "one", "two", "three", "refused"];
    let found = store.read(&DEAD_LETTERS).await;
    assert_eq!(found.len(), names.len());
    for (letter, name) in found.iter().zip(names) {
        let expected = json!([[name, "MQ=="], ["x", null], [name, "Mg=="]]);
        let expected = if name.is_empty() { json!([]) } else { expected };
        assert_eq!(letter.json("headers"), expected, "at {}", &letter["position"]);
    }
}
