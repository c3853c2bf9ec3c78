//! Violations of every kind, planted by SQL, are found and named.

mod support;

use serde_json::{Value, json};
use tally_harness::job::Target;

use self::support::Base;
use crate::support::{audit, audited};

const FILE_FIRST: &str = "stream = 'FILE' and pass = 1 and first = 0";
const FILE_SECOND: &str = "stream = 'FILE' and pass = 1 and first = 100";
const TOPIC_LAST: &str = "stream = 'tally/t' and pass = 1 and first = 120";
const FIRST_LETTER: &str = "pass = 1 and position = LETTER and attempt = 1";
const SECOND_PASS: &str = "transactions FILE partition 0 pass 2: ";
const OF_FILE: &str = "transactions FILE partition 0 pass 1: ";
const OF_TOPIC: &str = "transactions tally/t partition 0 pass 1: ";

/// SQL, the kind of violation that it plants, and what its message says.
type Case = (String, &'static str, Vec<&'static str>);

fn update(table: &str, set: &str, of: &str) -> String {
    format!("update {table} set {set} where {of}")
}

fn delete(table: &str, of: &str) -> String {
    format!("delete from {table} where {of}")
}

/// What a batch says of itself.
fn of_counts() -> Vec<Case> {
    vec![
        (
            update("batches", "written = written - 1", FILE_FIRST),
            "unbalanced",
            vec![OF_FILE, "from 0 to 99 read 100 records and accounts for 99: "],
        ),
        (
            update("batches", "written = written - 1", FILE_FIRST),
            "unbalanced",
            vec![
                "transactions FILE partition 0: 600 records were read in all and 599 are accounted for",
            ],
        ),
        (
            update("batches", "written = written - 1", FILE_FIRST),
            "unbalanced",
            vec!["the flow transactions: 643 records were read in all and 642 are accounted for"],
        ),
        (
            update("batches", "written = written - 1", FILE_FIRST),
            "unbalanced",
            vec!["everything: 643 records were read in all and 642 are accounted for"],
        ),
        (
            update("batches", "skipped = -1, superseded = superseded + 1", FILE_FIRST),
            "negative_count",
            vec![OF_FILE, "from 0 to 99 has skipped -1"],
        ),
        (
            update("batches", "last = first - 1", TOPIC_LAST),
            "backward_range",
            vec![
                OF_TOPIC,
                "00000000-0000-7000-8000-000000000003 from 120 to 119 ends before it begins",
            ],
        ),
        (
            update("batches", "read = read + 1, written = written + 1", FILE_SECOND),
            "wrong_width",
            vec![
                OF_FILE,
                "from 100 to 199 read 101 records and passed 0 rows without one, and its range has 100",
            ],
        ),
        (
            update("batches", "read = read - 1, written = written - 1", FILE_SECOND),
            "wrong_width",
            vec![
                OF_FILE,
                "from 100 to 199 read 99 records and passed 0 rows without one, and its range has 100",
            ],
        ),
        (
            update("batches", "read = 31, written = 29", TOPIC_LAST),
            "wrong_width",
            vec![
                OF_TOPIC,
                "from 120 to 149 read 31 records and passed 0 offsets without one, and its range has 30",
            ],
        ),
        (
            update("batches", "passed = '{\"marker\": 1}'", TOPIC_LAST),
            "wrong_width",
            vec![OF_TOPIC, "from 120 to 149 read 30 records and passed 1 offsets without one"],
        ),
        (
            update("batches", "gap = 'compacted'", TOPIC_LAST),
            "records_in_gap",
            vec![OF_TOPIC, "from 120 to 149 says why it has no records, and read 30"],
        ),
        (
            update("batches", "read = read - 1, written = written - 1", FILE_SECOND),
            "wrong_sum",
            vec![OF_FILE, "finished at row 300, and its batches read 299"],
        ),
    ]
}

/// Batches one after the other, and positions.
fn of_ranges() -> Vec<Case> {
    vec![
        (
            delete("batches", FILE_SECOND),
            "gap",
            vec![
                OF_FILE,
                "positions 100 to 199 are in no batch",
                "from 200 to 299 follows 0 to 99",
            ],
        ),
        (
            update("batches", "first = 99", FILE_SECOND),
            "overlap",
            vec![OF_FILE, "from 99 to 199 begins within or before the one from 0 to 99"],
        ),
        (
            delete("batches", FILE_FIRST),
            "wrong_begin",
            vec![OF_FILE, "from 100 to 199, does not begin at 0"],
        ),
        (
            delete("batches", "stream = 'tally/t' and pass = 2 and first = 0"),
            "wrong_begin",
            vec![
                "transactions tally/t partition 0 pass 2: ",
                "from 100 to 104, does not begin at 0",
            ],
        ),
        (
            update("positions", "next = 301", "stream = 'FILE' and pass = 1"),
            "wrong_position",
            vec![OF_FILE, "its position stands at 301, and its last batch ends at 299"],
        ),
        (
            delete("batches", "stream = 'FILE' and pass = 2"),
            "wrong_position",
            vec![SECOND_PASS, "its position stands at 300, and the ledger has no batch of it"],
        ),
        (
            delete("positions", "stream = 'tally/t' and pass = 2"),
            "no_position",
            vec!["transactions tally/t partition 0 pass 2: the ledger has batches of it"],
        ),
        (
            update("positions", "pass = 3", "stream = 'tally/t' and pass = 2"),
            "missing_pass",
            vec!["transactions tally/t partition 0 pass 3: it follows pass 1: pass 2 is missing"],
        ),
        (
            delete("positions", "stream = 'tally/t' and pass = 1"),
            "missing_pass",
            vec!["transactions tally/t partition 0 pass 2: it is the first one: pass 1 is missing"],
        ),
        (
            update("positions", "ended_at = updated_at", "stream = 'tally/t' and pass = 1"),
            "ended_topic",
            vec![OF_TOPIC],
        ),
    ]
}

/// Dead letters.
fn of_letters() -> Vec<Case> {
    vec![
        (
            delete("dead_letters", "stream = 'FILE' and pass = 1 and position >= 200"),
            "dead_letter_count",
            vec![OF_FILE, "from 200 to 299 says 10 dead letters, and 0 are there"],
        ),
        (
            update(
                "dead_letters",
                "batch_id = '00000000-0000-7000-8000-00000000dead'",
                FIRST_LETTER,
            ),
            "dead_letter_batch",
            vec![
                OF_FILE,
                "at LETTER, attempt 1",
                "does not have its batch 00000000-0000-7000-8000-00000000dead",
            ],
        ),
        (
            update(
                "dead_letters",
                "batch_id = (select id from batches where stream = 'FILE' and pass = 1 and first = 200)",
                FIRST_LETTER,
            ),
            "dead_letter_place",
            vec![OF_FILE, "at LETTER, attempt 1", "is from 200 to 299"],
        ),
        (
            update(
                "dead_letters",
                "batch_id = (select id from batches where stream = 'FILE' and pass = 2 and first = 0)",
                FIRST_LETTER,
            ),
            "dead_letter_place",
            vec![OF_FILE, "at LETTER, attempt 1", "is of another stream, partition or pass"],
        ),
        (
            update("dead_letters", "attempt = 3", "attempt = 2"),
            "dead_letter_attempts",
            vec![OF_FILE, "at LETTER, attempt 3: attempt 2 is missing"],
        ),
        (
            update("dead_letters", "state = 'open'", FIRST_LETTER),
            "dead_letter_state",
            vec![OF_FILE, "at LETTER, attempt 1: it is open, and a later attempt exists"],
        ),
        (
            update("dead_letters", "state = 'retried'", "attempt = 2"),
            "dead_letter_state",
            vec![OF_FILE, "at LETTER, attempt 2: it is retried, and no later attempt exists"],
        ),
        (
            update("dead_letters", "id = '00000000-0000-5000-8000-000000000001'", FIRST_LETTER),
            "dead_letter_id",
            vec![
                OF_FILE,
                "00000000-0000-5000-8000-000000000001 at LETTER, attempt 1: its id should be ",
            ],
        ),
    ]
}

/// Rows.
fn of_rows() -> Vec<Case> {
    vec![
        (
            update(
                "transactions",
                "origin = 4711",
                "position = 105 and origin = (select id from positions where stream = 'tally/t' and pass = 1)",
            ),
            "unknown_origin",
            vec!["transactions: 1 rows in transactions name the origin 4711"],
        ),
        (
            update(
                "transactions",
                "position = 150",
                "origin = (select id from positions where stream = 'tally/t' and pass = 1)",
            ),
            "rows_beyond_position",
            vec![OF_TOPIC, "come from position 150, and it stands at 150"],
        ),
        (
            update(
                "transactions",
                "position = 115",
                "origin = (select id from positions where stream = 'tally/t' and pass = 1)",
            ),
            "rows_from_nothing",
            vec![OF_TOPIC, "1 rows in transactions come from between 115 and 115"],
        ),
        (
            update(
                "transactions",
                "position = 99",
                "origin = (select id from positions where stream = 'tally/t' and pass = 1)",
            ),
            "rows_from_nothing",
            vec![OF_TOPIC, "come from position 99, and its first batch begins at 100"],
        ),
        (
            update(
                "batches",
                "superseded = read, written = 0, skipped = 0",
                "stream = 'tally/t' and pass = 1",
            ),
            "too_many_rows",
            vec![
                OF_TOPIC,
                "transactions has 1 rows of it, and its batches wrote 0 and replays at most 0",
            ],
        ),
    ]
}

async fn check_all(target: Target) {
    let base = Base::new(target).await;
    let report = audited(&base.target, 0, &[]);
    assert_eq!(report["violations"], json!([]), "nothing is wrong before");
    assert_eq!(report["total"]["read"], json!(643));
    for (sql, kind, texts) in [of_counts(), of_ranges(), of_letters(), of_rows()].concat() {
        base.check(&sql, kind, &texts).await;
    }
    base.restore("").await;
    audited(&base.target, 0, &[]);
    base.many().await;
}

impl Base {
    /// Of very many the first hundred are named and the others counted; standard error sums up.
    async fn many(&self) {
        let insert = "insert into batches (id, flow, stream, partition, pass, first, last, read, written, superseded, \
            skipped, dead_lettered, quality, started_at, committed_at, worker) ";
        let series = match &self.target {
            Target::Sqlite(_) => {
                "with recursive s (n) as (select 1 union all select n + 1 from s where n < 250) \
                INSERT select printf('00000000-0000-7000-9000-%012d', n), 'transactions', 'tally/u', 0, 1, n, n, 2, 1, \
                0, 0, 0, '{}', '2024-01-01', '2024-01-01', 'w' from s"
            }
            Target::Postgres(_) => {
                "INSERT select ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid, 'transactions', 'tally/u', \
                0, 1, n, n, 2, 1, 0, 0, 0, '{}', now(), now(), 'w' from generate_series(1, 250) as s(n)"
            }
        };
        self.target.execute(&series.replace("INSERT", insert)).await;
        let report = audited(&self.target, 65, &[]);
        let of_kind = |kind: &str| {
            let all = report["violations"].as_array().unwrap().iter();
            all.filter(|violation| violation["kind"] == kind).count()
        };
        assert_eq!(
            report["violation_counts"],
            json!({ "no_position": 1, "unbalanced": 250, "wrong_width": 250 })
        );
        assert_eq!(
            [of_kind("no_position"), of_kind("unbalanced"), of_kind("wrong_width")],
            [1, 100, 100]
        );

        let none: [&str; 0] = [];
        let output = audit(&self.target, &none);
        assert_eq!(output.code, Some(65), "{output}");
        assert_eq!(
            output.stderr,
            "error: 501 violations: unbalanced 250, wrong_width 250, no_position 1\n"
        );
        for line in
            ["unbalanced: and 150 more\n", "no_position: transactions tally/u partition 0 pass 1: "]
        {
            assert!(output.stdout.contains(line), "{output}");
        }
        assert!(!output.stdout.contains("accounted for\n"), "{output}");
        assert_eq!(
            Value::from(output.stdout.matches("wrong_width: transactions tally/u").count()),
            json!(100)
        );
    }
}

#[tokio::test]
async fn each_is_found_sqlite() {
    check_all(Target::sqlite()).await;
}

#[tokio::test]
async fn each_is_found_postgres() {
    check_all(Target::postgres().await).await;
}
