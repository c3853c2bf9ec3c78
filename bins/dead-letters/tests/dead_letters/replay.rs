//! Replays: what becomes of each record, and that nothing else changes.

use std::time::{Duration, Instant};

use serde_json::json;
use tally_harness::job::{Job, Target};

use crate::support::{Desk, HEADER, SOON, on_both_stores, outcomes, row};

on_both_stores! {
    what_a_model_had_refused_is_written
    what_the_database_had_refused_is_written
    what_the_model_refuses_again_is_the_next_attempt
    what_is_still_bad_is_tried_three_times
    nothing_newer_is_overwritten
    what_is_not_whole_cannot_be_replayed
    a_mask_holds_for_what_fails_again
    a_quarantined_record_passes_and_nothing_learns
    a_row_becomes_what_it_would_have_been
    amounts_are_read_as_those_of_their_file
    an_outage_of_the_model_is_waited_for
}

/// The cause is gone: the rows are there, and the ledger is as it was.
async fn what_a_model_had_refused_is_written(desk: Desk) {
    desk.model.refuse();
    let rows = [row(1, "good"), row(2, "bad"), row(3, "good"), row(4, "bad")].concat();
    desk.ingest("a.csv", &rows);
    assert_eq!(desk.states().await, ["1 1 open", "3 1 open"]);
    let before = desk.ledger().await;

    desk.model.answer();
    let (told, counts) = desk.replay(&["--all", "--dry-run"]);
    assert_eq!(told, outcomes([(1, "replayed"), (3, "replayed")]));
    assert_eq!(counts, json!({"replayed": 2}));
    assert_eq!(desk.states().await, ["1 1 open", "3 1 open"]);
    assert_eq!(desk.target.number("select count(*) from transactions").await, 2);
    assert_eq!(desk.target.number("select count(*) from acts").await, 0);

    let (told, counts) = desk.replay(&["--all", "--reason", "the model is well again"]);
    assert_eq!(told, outcomes([(1, "replayed"), (3, "replayed")]));
    assert_eq!(counts, json!({"replayed": 2}));
    assert_eq!(desk.states().await, ["1 1 replayed", "3 1 replayed"]);
    let found = desk
        .texts("select t.position, t.description, t.amount, t.merchant, p.label, p.pass from transactions t \
            join positions p on p.id = t.origin order by t.position")
        .await;
    let label = desk.file("a.csv", format!("{HEADER}{rows}"));
    let label = label.to_str().unwrap();
    let expected =
        ["0 good", "1 bad", "2 good", "3 bad"].map(|row| format!("{row} -1.50 RATP {label} 1"));
    assert_eq!(found, expected);
    let categories = "select count(*) from transactions where category is null or category = ''";
    assert_eq!(desk.target.number(categories).await, 0);
    assert_eq!(desk.ledger().await, before);

    let acts = "select who, verb, flow, target, reason, result from acts";
    let acts = desk.texts(acts).await;
    assert_eq!(acts.len(), 1);
    assert!(acts[0].starts_with("ann@"), "{}", acts[0]);
    let expected =
        "replay transactions flow=transactions state=open the model is well again {\"replayed\":2}";
    assert!(acts[0].ends_with(expected), "{}", acts[0]);

    let rows = desk.texts("select * from transactions order by id").await;
    assert_eq!(desk.replay(&["--all"]), (vec![], json!({})));
    let ids = desk.ids().await;
    let (told, counts) = desk.replay(&[&ids[1], &ids[0]]);
    assert_eq!(told, outcomes([(1, "not_open"), (3, "not_open")]));
    assert_eq!(counts, json!({"not_open": 2}));
    assert_eq!(desk.texts("select * from transactions order by id").await, rows);
    let said = desk.done(&["replay", &ids[0]]);
    assert!(said.contains("is replayed: left alone"), "{said}");
}

/// While the cause is there each try is another attempt; then the newest one is written.
async fn what_the_database_had_refused_is_written(desk: Desk) {
    desk.ingest("first.csv", &row(1, "good"));
    let code = desk.refuse_descriptions().await;
    desk.ingest("a.csv", &[row(2, "bad"), row(3, "good")].concat());
    assert_eq!(desk.states().await, ["0 1 open"]);

    let lines = desk.lines(&["replay", "--all"]);
    assert_eq!(lines[0]["outcome"], "failed_again");
    assert_eq!((&lines[0]["stage"], &lines[0]["code"]), (&json!("write"), &json!(code)));
    assert_eq!(desk.states().await, ["0 1 retried", "0 2 open"]);
    let ids = desk.ids().await;
    assert_eq!(lines[0]["next_id"], *ids[1]);
    let shown = desk.json(&["show", &ids[0]]);
    let attempts: Vec<_> = shown["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["attempt"].as_i64().unwrap(), attempt["state"].as_str().unwrap()))
        .collect();
    assert_eq!(attempts, [(1, "retried"), (2, "open")]);

    desk.accept_descriptions().await;
    let (told, _) = desk.replay(&[&ids[0]]);
    assert_eq!(told, outcomes([(0, "not_open")]), "only the newest attempt is replayed");
    let (told, _) = desk.replay(&["--code", code]);
    assert_eq!(told, outcomes([(0, "replayed")]));
    assert_eq!(desk.states().await, ["0 1 retried", "0 2 replayed"]);
    let written = "select description, position from transactions order by id";
    assert_eq!(desk.texts(written).await, ["good 0", "bad 0", "good 1"]);
    assert_eq!(desk.acts("replay").await.len(), 3);
}

/// There are no good neighbours in a replay that would tell a refusal from an outage.
async fn what_the_model_refuses_again_is_the_next_attempt(desk: Desk) {
    desk.model.refuse();
    let rows: String = (1..=12).map(|id| row(id, if id == 1 { "good" } else { "bad" })).collect();
    desk.ingest("a.csv", &rows);
    assert_eq!(desk.replay(&["--all", "--dry-run"]).1, json!({"failed_again": 11}));
    assert_eq!(desk.replay(&["--all"]).1, json!({"failed_again": 11}));
    desk.model.omit();
    let lines = desk.lines(&["replay", "--position", "1"]);
    assert_eq!((&lines[0]["attempt"], &lines[0]["code"]), (&json!(2), &json!("model_no_answer")));
    let newest = "select max(attempt) from dead_letters where position = 1 and state = 'open'";
    assert_eq!(desk.target.number(newest).await, 3);
    desk.model.answer();
    assert_eq!(desk.replay(&["--all"]).1, json!({"exhausted": 1, "replayed": 10}));
}

/// Byte for byte the same record each time, until it is enough.
async fn what_is_still_bad_is_tried_three_times(desk: Desk) {
    desk.ingest("a.csv", &["x".to_owned() + &row(1, "good"), row(2, "good")].concat());
    for (attempt, outcome) in [(1, "failed_again"), (2, "failed_again"), (3, "exhausted")] {
        let lines = desk.lines(&["replay", "--all"]);
        assert_eq!(lines[0]["outcome"], outcome);
        assert_eq!(lines[0]["attempt"], attempt);
    }
    assert_eq!(desk.states().await, ["0 1 retried", "0 2 retried", "0 3 open"]);
    let copies = "select count(distinct batch_id), count(distinct key), count(distinct payload), count(*), \
        count(distinct code) from dead_letters";
    assert_eq!(desk.texts(copies).await, ["1 1 1 3 1"]);
    let (told, counts) = desk.replay(&["--all", "--max-attempts", "4"]);
    assert_eq!((told, counts), (outcomes([(0, "failed_again")]), json!({"failed_again": 1})));
    let said = desk.done(&["replay", "--all"]);
    assert!(said.contains("attempt 4 of at most 3: left alone"), "{said}");
    let expected = [
        json!({"failed_again": 1}),
        json!({"failed_again": 1}),
        json!({"exhausted": 1}),
        json!({"failed_again": 1}),
        json!({"exhausted": 1}),
    ];
    assert_eq!(desk.acts("replay").await, expected);
    assert_eq!(desk.target.number("select count(*) from transactions").await, 1);
}

/// A later record of the file, and one of another file; an earlier one is.
async fn nothing_newer_is_overwritten(desk: Desk) {
    desk.model.refuse();
    let rows = [row(1, "bad"), row(2, "bad"), row(3, "older"), row(1, "newer"), row(3, "bad")];
    desk.ingest("a.csv", &rows.concat());
    // Under another spelling of its id: under the same the dead letter would be outdated at once.
    let elsewhere = row(2, "elsewhere").replacen('2', "00000000-0000-0000-0000-000000000002", 1);
    desk.ingest("b.csv", &elsewhere);
    let before =
        desk.texts("select * from transactions where description <> 'older' order by id").await;
    assert_eq!(before.len(), 2);

    desk.model.answer();
    let expected = outcomes([(0, "outdated"), (1, "outdated"), (4, "replayed")]);
    assert_eq!(desk.replay(&["--all", "--dry-run"]).0, expected);
    let (told, counts) = desk.replay(&["--all"]);
    assert_eq!((told, counts), (expected, json!({"outdated": 2, "replayed": 1})));
    assert_eq!(desk.states().await, ["0 1 outdated", "1 1 outdated", "4 1 replayed"]);
    let texts = "select description, position from transactions order by id";
    assert_eq!(desk.texts(texts).await, ["newer 3", "elsewhere 0", "bad 4"]);
    let after = "select * from transactions where description <> 'bad' order by id";
    assert_eq!(desk.texts(after).await, before);
}

/// Cut, masked or purged: it says so and stays open, or purged.
async fn what_is_not_whole_cannot_be_replayed(desk: Desk) {
    let long = format!("7;\"{}\n", "x".repeat(1_200_000));
    desk.ingest("a.csv", &(long + &row(1, "good")));
    assert_eq!(desk.states().await, ["0 1 open"]);
    let lines = desk.lines(&["replay", "--all"]);
    assert_eq!(lines[0]["outcome"], "not_replayable");
    assert_eq!(lines[0]["why"], "its payload was cut");
    let id = &desk.ids().await[0];

    desk.target.execute("update dead_letters set headers = '[[\"masked\",\"YW1vdW50\"]]'").await;
    let said = desk.done(&["replay", id]);
    assert!(said.contains("cannot be replayed: fields of it are masked"), "{said}");
    assert_eq!(desk.states().await, ["0 1 open"]);

    desk.done(&["purge", id]);
    let lines = desk.lines(&["replay", id]);
    assert_eq!((&lines[0]["outcome"], &lines[0]["why"]), (&json!("not_open"), &json!("purged")));
    assert_eq!(desk.states().await, ["0 1 purged"]);
}

/// What was kept before it was set stays as it is.
async fn a_mask_holds_for_what_fails_again(desk: Desk) {
    let bad = row(1, "x").replace("debit", "both");
    desk.ingest("a.csv", &bad);
    let output = desk
        .launch(&["replay", "--all"])
        .env("TALLY_PRIVACY__MASKED", "[\"merchant\"]")
        .spawn()
        .wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(desk.states().await, ["0 1 retried", "0 2 open"]);
    let id = &desk.ids().await[1];
    let shown = desk.json(&["show", id]);
    assert_eq!(shown["payload"], json!(bad.trim_end().replace("RATP", "***")));
    let lines = desk.lines(&["replay", "--all"]);
    assert_eq!(lines[0]["why"], "fields of it are masked");
}

/// Who replays it lets it pass; the statistics learned from it when it was read.
async fn a_quarantined_record_passes_and_nothing_learns(desk: Desk) {
    let strict = |job: Job| {
        job.env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", "quarantine")
            .env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0")
    };
    let rows = [row(1, "good"), row(2, "good").replace("RATP", ""), row(3, "good")].concat();
    let output = strict(desk.job("a.csv", &rows)).spawn().wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(desk.states().await, ["1 1 open"]);
    let before = desk.ledger().await;
    let output = desk
        .launch(&["replay", "--stage", "quality", "--output", "json"])
        .env("TALLY_QUALITY__MISSING_MERCHANT__POLICY", "quarantine")
        .env("TALLY_QUALITY__MISSING_MERCHANT__THRESHOLD", "0")
        .spawn()
        .wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(desk.states().await, ["1 1 replayed"]);
    assert_eq!(desk.ledger().await, before);
    assert_eq!(desk.target.number("select count(*) from transactions").await, 3);
}

/// Quotes, line ends inside them, another encoding, decimal commas: the row is what its first reading would have made.
async fn a_row_becomes_what_it_would_have_been(desk: Desk) {
    desk.model.refuse();
    let latin = |text: &str| -> Vec<u8> {
        text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
    };
    let rows = "side;amount;id;note;timestamp;description;merchant;operation_type\r\n\
        debit;\"-1.234,5\";1;x;2024-01-15T08:30:00+02:00;\"bad \"\"é\"\"; über\r\nzwei\";;payment\r\n\
        debit;-2,5;2;x;2024-01-15 08:30:00;\"bad \"\"é\"\"; über\r\nzwei\";Müller;\r\n\
        credit;3;3;x;2024-01-15 08:30:00;good;;\r\n";
    let file = desk.file("latin.csv", latin(rows));
    let ingest = |again: &[&str]| {
        let job = Job::new(&desk.target.url()).model(&desk.model.url()).file(&file);
        let job = job.env("TALLY_CSV__ENCODING", "latin1").flags(again);
        let output = job.spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
    };
    ingest(&[]);
    assert_eq!(desk.states().await, ["0 1 open", "1 1 open"]);
    desk.model.answer();
    let (told, _) = desk.replay(&["--all", "--max-attempts", "5"]);
    assert_eq!(told, outcomes([(0, "replayed"), (1, "replayed")]));
    let columns = "select id, description, amount, timestamp, merchant, operation_type, side, category, position \
        from transactions order by id";
    let replayed = desk.texts(columns).await;
    ingest(&["--again"]);
    assert_eq!(desk.texts(columns).await, replayed);
}

/// A sign that was set reads `1,500`, one that the file shows does not; neither does what older versions kept.
async fn amounts_are_read_as_those_of_their_file(desk: Desk) {
    desk.model.refuse();
    let amount = |id, amount: &str| row(id, "bad").replace("-1,50", amount);
    let rows = |first: u64, amounts: &[&str]| -> String {
        (first..).zip(amounts).map(|(id, text)| amount(id, text)).collect()
    };
    // One that the model takes, lest all be refused; here it votes for the comma.
    let shown = row(1, "good") + &rows(2, &["-2.500", "-2,5", "-2 500,25"]);
    let set = row(11, "good") + &rows(12, &["-1,500", "-1.500"]);
    let undecided = row(21, "good").replace("-1,50", "-1") + &rows(22, &["-7"]);
    let taken = |name: &str, rows: &str, decimal: &str| {
        let job = desk.job(name, rows).env("TALLY_CSV__DECIMAL", decimal);
        let output = job.spawn().wait(SOON);
        assert_eq!(output.code, Some(0), "{output}");
    };
    taken("shown.csv", &shown, "auto");
    taken("set.csv", &set, "comma");
    taken("undecided.csv", &undecided, "auto");
    desk.model.answer();
    let (told, counts) = desk.replay(&["--all"]);
    assert_eq!((told.len(), counts), (6, json!({"replayed": 6})));
    let of_bad = "select amount from transactions where description = 'bad' order by id";
    let expected = ["-2500.00", "-2.50", "-2500.25", "-1.50", "-1500.00", "-7.00"];
    assert_eq!(desk.texts(of_bad).await, expected);

    // Before a file could be undecided, all that was kept is the sign, whoever set it.
    desk.model.refuse();
    taken("old.csv", &(row(31, "good") + &rows(32, &["-1,500", "-2,5"])), "comma");
    let old = "replace(headers, 'Y29tbWEtc2V0', 'Y29tbWE=')";
    let old = match &desk.target {
        Target::Postgres(_) => old.replace("(headers", "(headers::text") + "::json",
        Target::Sqlite(_) => old.to_owned(),
    };
    desk.target.execute(&format!("update dead_letters set headers = {old}")).await;
    desk.model.answer();
    let (told, _) = desk.replay(&["--all"]);
    assert_eq!(told, outcomes([(1, "failed_again"), (2, "replayed")]));
    let why = "select code, message from dead_letters where attempt = 2";
    let message = "amount has three digits behind the comma, which may be thousands or decimals: set \
                   csv.decimal to comma if they are decimals";
    assert_eq!(desk.texts(why).await, [format!("amount_invalid {message}")]);
}

/// Nothing fails because a dependency is down.
async fn an_outage_of_the_model_is_waited_for(desk: Desk) {
    desk.model.refuse();
    desk.ingest("a.csv", &[row(1, "bad"), row(2, "good"), row(3, "bad")].concat());
    desk.model.away();
    let before = desk.model.requests();
    let process = desk.launch(&["replay", "--all", "--output", "json"]).spawn();
    desk.model.until_requests(before + 2).await;
    assert_eq!(desk.states().await, ["0 1 open", "2 1 open"]);
    desk.model.answer();
    let output = process.wait(SOON);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(desk.states().await, ["0 1 replayed", "2 1 replayed"]);
    assert!(output.stderr.contains("unavailable, retrying"), "{output}");

    desk.model.refuse();
    desk.ingest("b.csv", &[row(5, "bad"), row(6, "good")].concat());
    desk.model.away();
    let output = desk.run(&["replay", "--all", "--max-outage", "1s"]);
    assert_eq!(output.code, Some(69), "{output}");
    assert_eq!(
        desk.target.number("select count(*) from dead_letters where state = 'open'").await,
        1
    );
}

mod serial {
    use super::*;

    /// So many per second, and not all at once to the model either.
    #[tokio::test]
    async fn a_rate_is_kept() {
        let desk = Desk::new(Target::sqlite()).await;
        desk.model.refuse();
        let rows: String =
            (1..=41).map(|id| row(id, if id % 41 == 0 { "good" } else { "bad" })).collect();
        desk.model.omit();
        desk.ingest("a.csv", &rows);
        desk.model.answer();
        let before = desk.model.requests();
        let began = Instant::now();
        let (told, _) = desk.replay(&["--all", "--rate", "20/s"]);
        assert_eq!(told.len(), 40);
        // 39 pauses of 50 ms.
        assert!(began.elapsed() >= Duration::from_millis(1_950), "{:?}", began.elapsed());
        assert_eq!(desk.model.requests() - before, 2);
    }
}
