//! What reaches the topic, and what does not.

use std::fs;

use serde_json::{Value, json};
use tally_harness::kafka::{JavaProducer, JavaRecord};

use crate::support::{HEADER, Scene, row};

#[tokio::test]
async fn rows_are_sent_as_json_keyed_by_id_to_the_partitions_that_other_clients_choose() {
    let rows: String = (1..=60).map(row).collect();
    let scene = Scene::new(&rows).await;
    let output = scene.ended_with(&[], 0);
    assert!(output.stdout.starts_with("60 rows read, 60 sent in "), "{output}");
    let records = scene.records().await;
    let mut ids: Vec<u128> = Vec::new();
    for (key, value) in records.values().flatten() {
        assert_eq!(
            *value,
            json!({
                "id": key, "description": "CB", "amount": -1.5, "timestamp": "2024-01-15T08:30:00",
                "merchant": null, "operation_type": "payment", "side": "debit",
            })
        );
        ids.push(u128::from_str_radix(&key.replace('-', ""), 16).unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=60).collect::<Vec<_>>());

    let other = scene.broker.topic(3).await;
    let mut java = JavaProducer::start(scene.broker.bootstrap());
    for (key, _) in records.values().flatten() {
        let (key, value) = (Some(key.as_bytes()), Some(&b"x"[..]));
        java.send(JavaRecord { topic: &other, key, value, ..Default::default() }).await;
    }
    java.flush().await;
    for (partition, records) in records {
        let mut ours: Vec<&str> = records.iter().map(|(key, _)| key.as_str()).collect();
        let theirs = scene.broker.read_all(&other, partition).await;
        let mut theirs: Vec<String> = theirs
            .into_iter()
            .map(|found| String::from_utf8(found.record.key.unwrap()).unwrap())
            .collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "partition {partition}");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_reported_and_not_sent() {
    let rows = [
        &row(1),
        "x;CB;-1;2024-01-15 08:30:00;;payment;debit\n",
        "2;CB;much;2024-01-15 08:30:00;;payment;debit\n",
        "3;CB;-1;yesterday;;payment;debit\n",
        "4;CB;-1\n",
        // Wrong, but it can be read: that is the consumer's to say.
        "5;CB;1;2024-01-15 08:30:00;;payment;debit\n",
    ];
    let scene = Scene::new(&rows.concat()).await;
    let output = scene.ended_with(&[], 65);
    assert!(output.stdout.starts_with("6 rows read, 2 sent in "), "{output}");
    let told =
        "4 of 6 rows were not sent: correct them and send them again; --rejects FILE keeps them";
    assert!(output.stderr.contains(told), "{output}");
    for (row, code) in
        [(1, "id_invalid"), (2, "amount_invalid"), (3, "timestamp_invalid"), (4, "fields")]
    {
        assert!(output.stderr.contains(&format!("row {row} is not sent")), "{output}");
        assert!(output.stdout.contains(code), "{output}");
    }
    assert!(!output.stderr.contains("much"), "a value: {output}");
    assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), 2);
}

/// The amounts of a file are those that a run over the file would store.
#[tokio::test]
async fn amounts_are_read_as_those_of_their_file() {
    // The amounts sent, those not sent, and why.
    async fn check(amounts: &[&str], sent: &[Value], refused: &[(usize, &str)]) {
        let rows = amounts.iter().enumerate().map(|(id, amount)| {
            format!("{id};CB;{amount};2024-01-15 08:30:00;;payment;debit;\n;;;;;;\n")
        });
        let scene = Scene::new(&rows.collect::<String>()).await;
        let output = scene.ended_with(&[], 65);
        let (count, is_sent) = (amounts.len(), sent.len());
        let counts = format!("{count} rows read, {is_sent} sent in ");
        assert!(output.stdout.starts_with(&counts), "{output}");
        for (row, why) in refused {
            let line = format!("row {row} is not sent: amount {why}");
            assert!(output.stderr.contains(&line), "{line}: {output}");
        }
        let mut found: Vec<(String, Value)> =
            scene.records().await.into_values().flatten().collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let found: Vec<&Value> = found.iter().map(|(_, value)| &value["amount"]).collect();
        assert_eq!(found, sent.iter().collect::<Vec<_>>());
    }

    let comma = ["-1.234,50", "-3.000", "-3,000", ",50", "12 500", "12,50-"];
    let thousands = "has three digits behind the comma, which may be thousands or decimals";
    let sent = [json!(-1234.5), json!(-3000.0), json!(0.5), json!(12500.0)];
    check(&comma, &sent, &[(2, thousands), (5, "has its sign after the digits")]).await;
    let undecided = ["-3,000", "-3", "1'234"];
    let why = "can be read as thousands or as decimals, and the first 256 KiB of the file do not settle it: set csv.decimal";
    check(&undecided, &[json!(-3.0), json!(1234.0)], &[(0, why)]).await;
}

#[tokio::test]
async fn a_record_larger_than_the_topic_takes_is_reported_and_the_others_are_sent() {
    let mut scene = Scene::new("").await;
    // UUIDs, since it is compressed.
    let large: String = (0..300).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let rows = row(1) + &format!("2;{large};-1;2024-01-15 08:30:00;;payment;debit\n") + &row(3);
    fs::write(scene.path(), format!("{HEADER}{rows}")).unwrap();
    scene.topic = scene.broker.topic_with(3, "max.message.bytes=2000").await;
    let output = scene.ended_with(&[], 65);
    assert!(output.stdout.starts_with("3 rows read, 2 sent in "), "{output}");
    assert!(
        output.stderr.contains("row 1 is not sent") && output.stdout.contains("too_large"),
        "{output}"
    );
}
