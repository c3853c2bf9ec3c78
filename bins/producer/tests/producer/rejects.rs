//! What `--rejects` keeps of the rows that are not sent.

use std::fs;

use crate::support::{HEADER, Scene, row};

#[tokio::test]
async fn rows_that_are_not_sent_are_kept_as_they_are() {
    let mut scene = Scene::new("").await;
    scene.topic = scene.broker.topic_with(3, "max.message.bytes=2000").await;
    let header = HEADER.replace('\n', "\r\n");
    let large: String = (0..300).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let large = format!("2;{large};-1;2024-01-15 08:30:00;;payment;debit\r\n");
    let too_long =
        format!("3;{};-1;2024-01-15 08:30:00;;payment;debit\r\n", "x".repeat(1024 * 1024));
    let (good, good_in_two_lines) =
        (row(1), "4;\"C\nB\";-1;2024-01-15 08:30:00;;payment;debit\r\n");
    let bad = [
        "5;\"C\r\nB \u{e9}\";much;2024-01-15 08:30:00;;payment;debit\r\n",
        "6;\"CB\"!;-1\r\n",
        "7;CB\r\n",
    ]
    .map(str::to_owned);
    let rows =
        [&good, &bad[0], good_in_two_lines, &bad[1], &large, "\r\n", &too_long, &bad[2], &row(8)];
    fs::write(scene.path(), header.clone() + &rows.map(|row| row as &str).concat()).unwrap();

    let rejects = scene.folder.path().join("rejects.csv");
    let keep = ["--rejects", rejects.to_str().unwrap()];
    let output = scene.ended_with(&keep, 65);
    assert!(output.stdout.starts_with("8 rows read, 3 sent in "), "{output}");
    let kept = [&header, &bad[0], &bad[1], &large, &bad[2]].map(String::as_str).concat();
    assert_eq!(fs::read_to_string(&rejects).unwrap(), kept);
    let lost = "row 5 is longer than 1 MiB: --rejects does not keep it";
    assert!(output.stderr.contains(lost), "{output}");
    assert!(
        !output.stderr.contains("--rejects FILE") && !output.stderr.contains("much"),
        "{output}"
    );

    // Corrected, it can be sent by itself.
    let corrected = header.clone() + &bad[0].replace("much", "-1");
    fs::write(scene.path(), corrected).unwrap();
    let output = scene.ended_with(&keep, 0);
    assert!(output.stdout.starts_with("1 rows read, 1 sent in "), "{output}");
    assert_eq!(fs::read_to_string(&rejects).unwrap(), header, "nothing was left out");
    let records = scene.records().await;
    let (_, sent) = records.values().flatten().find(|(key, _)| key.ends_with("05")).unwrap();
    assert_eq!(sent["description"], "C\r\nB \u{e9}");
}

#[tokio::test]
async fn rows_may_be_left_out_where_that_is_meant() {
    let scene = Scene::new(&(row(1) + "x;CB\n")).await;
    let output = scene.ended_with(&["--skip-invalid"], 0);
    assert!(output.stdout.starts_with("2 rows read, 1 sent in "), "{output}");
    assert!(!output.stderr.contains("correct them"), "{output}");
    let rejects = scene.folder.path().join("rejects.csv");
    scene.ended_with(&["--skip-invalid", "--rejects", rejects.to_str().unwrap()], 0);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\n"));
}

/// Before anything is sent; and what is there stays.
#[tokio::test]
async fn where_rejects_cannot_be_kept_nothing_is_sent() {
    let scene = Scene::new(&(row(1) + "x;CB\n")).await;
    let path = scene.path();
    let content = fs::read(&path).unwrap();
    let link = scene.folder.path().join("link.csv");
    fs::hard_link(&path, &link).unwrap();
    for input in [&path, &link] {
        let output = scene.ended_with(&["--rejects", input.to_str().unwrap()], 78);
        assert!(output.stderr.contains("rows.csv: name another file"), "{output}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let nowhere = scene.folder.path().join("none/rejects.csv");
    let output = scene.ended_with(&["--rejects", nowhere.to_str().unwrap()], 74);
    assert!(output.stderr.contains("cannot create --rejects"), "{output}");

    let rejects = scene.folder.path().join("rejects.csv");
    let keep = ["--rejects", rejects.to_str().unwrap()];
    let other = scene.folder.path().join("other.csv");
    let commas = HEADER.replace(';', ",");
    fs::write(&other, commas + "2,CB,-1.50,2024-01-15 08:30:00,,payment,debit\n").unwrap();
    let both = [&keep[..], &[other.to_str().unwrap()]].concat();
    let output = scene.ended_with(&both, 78);
    assert!(output.stderr.contains("rows.csv and") && !rejects.exists(), "{output}");
    assert_eq!(scene.records().await.values().map(Vec::len).sum::<usize>(), 0);

    // What an earlier run kept is lost only to one that begins.
    fs::write(&rejects, "kept").unwrap();
    scene.ended_with(&[&keep[..], &["--format", "avro"]].concat(), 78);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "kept");

    let output = scene.ended_with(&["--rejects", "/dev/full"], 74);
    assert!(output.stderr.contains("cannot write --rejects /dev/full"), "{output}");
    fs::write(&other, HEADER.to_owned() + &row(2) + "y;CB\n").unwrap();
    scene.ended_with(&both, 65);
    assert_eq!(fs::read_to_string(&rejects).unwrap(), format!("{HEADER}x;CB\ny;CB\n"));
}
