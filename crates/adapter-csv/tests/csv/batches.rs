//! Batches, cursors, resuming.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::{Value, json};
use tally_adapter_csv::{Settings, byte_of};
use tally_ports::StopKind;

use crate::support::{file_of, next, open, payload, read_on, shown};

const MIXED: &str =
    "\u{feff}id;amount;text\r\n1;2,5;a\r\n\r\n2;3;\"b\n\nb\"\n3;4\n\n4;5;\"c\n5;6;d\n6;7;\"e\"\n\n";

#[tokio::test]
async fn batches_close_at_the_limit_and_say_where_they_end() {
    let file = file_of("id;amount;text\n1;2;a\n\n2;3;\"b\nb\"\n3;4;c");
    let file = open(&file, &Settings::default()).await;
    let mut source = file.read_from(0, &Value::Null).await.unwrap();
    let first = next(&mut source, 2).await.unwrap();
    assert_eq!((first.first, first.last, first.items.len()), (0, 1, 2));
    assert_eq!(first.cursor, json!({ "byte": 32, "line": 6 }));
    let second = next(&mut source, 2).await.unwrap();
    assert_eq!((second.first, second.last, second.items.len()), (2, 2, 1));
    assert_eq!(second.cursor, json!({ "byte": 37, "line": 6 + 1 }));
    assert_eq!(byte_of(&second.cursor), Some(file.size()));
    assert!(next(&mut source, 2).await.is_none());
    assert!(next(&mut source, 2).await.is_none());
    assert_eq!(byte_of(&Value::Null), None);
}

#[tokio::test]
async fn a_batch_closes_at_4_mib() {
    let row = format!("1;2;{}\n", "x".repeat(1_000_000));
    let file = file_of(format!("id;amount;text\n{}", row.repeat(6)));
    let file = open(&file, &Settings::default()).await;
    let mut source = file.read_from(0, &Value::Null).await.unwrap();
    let mut sizes = Vec::new();
    while let Some(batch) = next(&mut source, 1000).await {
        sizes.push(batch.items.len());
    }
    assert_eq!(sizes, [4, 2]);
}

#[tokio::test]
async fn resuming_at_any_cursor_reads_the_rest() {
    let file = file_of(MIXED);
    let file = open(&file, &Settings::default()).await;
    let whole = read_on(&file, 0, &Value::Null, 100).await.unwrap();
    assert_eq!(whole.len(), 6);
    for limit in 1..=7 {
        let mut source = file.read_from(0, &Value::Null).await.unwrap();
        let mut row = 0;
        while let Some(batch) = next(&mut source, limit).await {
            row = batch.last + 1;
            for rest_limit in 1..=3 {
                let rest = read_on(&file, row, &batch.cursor, rest_limit).await.unwrap();
                let expected = &whole[usize::try_from(row).unwrap()..];
                assert_eq!(rest.len(), expected.len());
                for (found, expected) in rest.iter().zip(expected) {
                    assert_eq!(shown(found), shown(expected));
                    assert_eq!(found.raw, expected.raw);
                    assert_eq!(found.position, expected.position);
                }
            }
        }
        assert_eq!(row, 6);
    }
}

#[tokio::test]
async fn payloads_are_the_files_bytes() {
    let file = file_of(MIXED);
    let file = open(&file, &Settings::default()).await;
    let items = read_on(&file, 0, &Value::Null, 100).await.unwrap();
    let payloads: Vec<&[u8]> = items.iter().map(payload).collect();
    let expected: [&[u8]; 6] =
        [b"1;2,5;a", b"2;3;\"b\n\nb\"", b"3;4", b"4;5;\"c", b"5;6;d", b"6;7;\"e\""];
    assert_eq!(payloads, expected);
}

#[tokio::test]
async fn a_dropped_future_loses_nothing() {
    let rows = "1;2;a\n".repeat(100_000);
    let file = file_of(format!("id;amount;text\n{rows}"));
    let file = open(&file, &Settings::default()).await;
    let mut source = file.read_from(0, &Value::Null).await.unwrap();
    let (mut read, mut dropped) = (0, 0);
    loop {
        let once = {
            let mut future = pin!(next(&mut source, 7000));
            poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
        };
        let batch = match once {
            Poll::Ready(batch) => batch,
            Poll::Pending => {
                dropped += 1;
                next(&mut source, 7000).await
            }
        };
        let Some(batch) = batch else { break };
        assert_eq!(batch.first, read);
        read = batch.last + 1;
    }
    assert!(dropped > 0);
    assert_eq!(read, 100_000);
}

#[tokio::test]
async fn a_bad_cursor_is_refused() {
    let temporary = file_of("id;amount;text\n1;2;a\n2;3;b");
    let file = open(&temporary, &Settings::default()).await;
    let good = [
        (0, Value::Null),
        (0, json!({"byte": 15, "line": 2})),
        (1, json!({"byte": 21, "line": 3})),
        (2, json!({"byte": 26, "line": 4})),
    ];
    for (next, cursor) in good {
        let rest = read_on(&file, next, &cursor, 10).await.unwrap();
        assert_eq!(rest.len(), usize::try_from(2 - next).unwrap());
    }
    let bad = [
        (1, Value::Null, "is none"),
        (-1, json!({"byte": 21, "line": 3}), "is none"),
        (1, json!({"byte": 21}), "is none"),
        (1, json!({"byte": 21, "line": 0}), "is none"),
        (1, json!({"byte": -21, "line": 3}), "is none"),
        (1, json!({"byte": "21", "line": 3}), "is none"),
        (1, json!(21), "is none"),
        (1, json!({"byte": 3, "line": 1}), "lies outside its rows"),
        (1, json!({"byte": 27, "line": 3}), "lies outside its rows"),
        (1, json!({"byte": 20, "line": 3}), "is not at the start of a line"),
    ];
    for (next, cursor, problem) in bad {
        let stop = file.read_from(next, &cursor).await.unwrap_err();
        assert_eq!(stop.kind, StopKind::Data);
        let path = temporary.path().display();
        assert_eq!(stop.message, format!("{path}: the cursor stored for row {next} {problem}"));
    }
}
