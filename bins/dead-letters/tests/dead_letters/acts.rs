//! Discarding and purging, and the table of acts.

use crate::support::{Desk, on_both_stores, row};
use serde_json::json;
use tally_harness::job::Target;

on_both_stores! {
    open_ones_are_discarded_with_a_reason
    purging_by_age_blanks_what_is_old
    purging_by_key_blanks_every_attempt
    nothing_is_changed_by_mistake
}

/// Five rows without a side.
fn fail(desk: &Desk) {
    let rows: String = (1..=5).map(|id| row(id, "x").replace("debit", "")).collect();
    desk.ingest("a.csv", &rows);
}

async fn open_ones_are_discarded_with_a_reason(desk: Desk) {
    fail(&desk);
    let ids = desk.ids().await;
    let said = desk.done(&["discard", &ids[0], &ids[2], "--reason", "a test file"]);
    assert_eq!(said, "2 discarded\n");
    let done = desk.json(&["discard", "--code", "side_missing", "--reason", "the rest"]);
    assert_eq!(done["counts"], json!({"discarded": 3}));
    assert_eq!(desk.done(&["discard", &ids[0], "--reason", "again"]), "0 discarded\n");
    assert_eq!(desk.states().await, [0, 1, 2, 3, 4].map(|at| format!("{at} 1 discarded")));

    let acts =
        desk.texts("select verb, flow, target, reason, result from acts order by at, id").await;
    let expected = [
        format!(
            "discard all state=open ids {}, {} a test file {{\"discarded\":2}}",
            ids[0], ids[2]
        ),
        "discard all code=side_missing state=open the rest {\"discarded\":3}".to_owned(),
        format!("discard all state=open ids {} again {{\"discarded\":0}}", ids[0]),
    ];
    assert_eq!(acts, expected);
    let act = done["act"].as_str().unwrap();
    assert_eq!(desk.texts("select id from acts order by at, id").await[1], act);
    assert_eq!(desk.replay(&["--all"]).0, []);
}

async fn purging_by_age_blanks_what_is_old(desk: Desk) {
    fail(&desk);
    desk.target
        .execute("update dead_letters set failed_at = '2024-01-31 10:00:00.000' where position < 2")
        .await;
    desk.target.execute("update dead_letters set state = 'discarded' where position = 0").await;
    assert_eq!(desk.done(&["purge", "--older-than", "30d"]), "2 purged\n");
    assert_eq!(desk.done(&["purge", "--older-than", "30d"]), "0 purged\n");
    let states = ["0 1 purged", "1 1 purged", "2 1 open", "3 1 open", "4 1 open"];
    assert_eq!(desk.states().await, states);
    let left = "select position, key is null and payload is null, headers, code, message from dead_letters where state = 'purged' order by position";
    let found = desk.texts(left).await;
    assert_eq!(found.len(), 2);
    for line in found {
        let is_blank = line.contains(" 1 [] side_missing") || line.contains(" t [] side_missing");
        assert!(is_blank, "{line}");
    }
    assert_eq!(desk.acts("purge").await, [json!({"purged": 2}), json!({"purged": 0})]);
}

/// Its copies among them, and no trace of the key stays.
async fn purging_by_key_blanks_every_attempt(desk: Desk) {
    fail(&desk);
    desk.replay(&["--key", "3"]);
    assert_eq!(
        desk.done(&["purge", "--key", "3", "--reason", "asked to be forgotten"]),
        "2 purged\n"
    );
    let states = ["0 1 open", "1 1 open", "2 1 purged", "2 2 purged", "3 1 open", "4 1 open"];
    assert_eq!(desk.states().await, states);
    let [target] =
        desk.texts("select target from acts where verb = 'purge'").await.try_into().unwrap();
    assert_eq!(target, "key=***");
    assert_eq!(desk.json(&["list", "--key", "3"])["dead_letters"], json!([]));
    let id = desk.texts("select id from dead_letters where position = 2 and attempt = 2").await;
    let shown = desk.json(&["show", &id[0]]);
    assert_eq!((&shown["payload"], &shown["payload_encoding"]), (&json!(null), &json!("none")));
    assert_eq!((&shown["key"], &shown["headers"]), (&json!(null), &json!([])));
}

/// Without a word on which ones, or with an id that is none, nothing happens at all.
async fn nothing_is_changed_by_mistake(desk: Desk) {
    fail(&desk);
    let id = &desk.ids().await[0];
    let none = "01890000-0000-7000-8000-000000000000";
    for (arguments, code) in [
        (&["discard", "--reason", "x"][..], 2),
        (&["discard", "--all"], 2),
        (&["replay"], 2),
        (&["purge"], 2),
        (&["discard", id, none, "--reason", "x"], 66),
        (&["replay", id, none], 66),
        (&["purge", none, id], 66),
        (&["export", none], 66),
        (&["show", none], 66),
        (&["list", "--after", none], 66),
        (&["replay", "--all", "--rate", "0"], 2),
        (&["list", "--state", "closed"], 2),
        (&["list", "--since", "yesterday"], 2),
        (&["purge", "--all", "--older-than", "never"], 2),
        (&["purge", "--all", "--older-than", "300000y"], 2),
        (&["list", "--limit", "0"], 2),
        (&["list", "--stage", "reading"], 2),
    ] {
        let output = desk.run(arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {output}");
        assert_eq!(output.stdout, "", "{arguments:?}");
    }
    assert_eq!(desk.states().await, [0, 1, 2, 3, 4].map(|at| format!("{at} 1 open")));
    assert_eq!(desk.target.number("select count(*) from acts").await, 0);
    let output = desk.run(&["show", none]);
    assert!(output.stderr.contains(&format!("there is no dead letter {none}")), "{output}");
}
