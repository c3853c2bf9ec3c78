//! Passes over a file and a topic, in which a test plants a violation.

use std::fmt::Write;

use tally_harness::job::{ModelService, Target};
use tally_ports::DeadLetterIdentity;

use crate::support::{Sample, audited};

/// What is there before: a file of 300 rows, 30 of them bad, read twice in batches of 100; and a topic that was read
/// from 100 on, with a compacted range, and set back to 100 later.
pub struct Base {
    pub target: Target,
    /// The file's stream.
    stream: String,
    /// The row of the first dead letter.
    letter: String,
}

const TABLES: [&str; 4] = ["positions", "batches", "dead_letters", "transactions"];

const TOPIC: &str = r#"
    insert into positions (flow, stream, partition, pass, label, next, epoch, updated_at) values
        ('transactions', 'tally/t', 0, 1, 't', 150, 1, '2024-01-01 00:00:00'),
        ('transactions', 'tally/t', 0, 2, 't', 105, 1, '2024-01-01 00:00:00');
    insert into batches (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped,
        dead_lettered, quality, passed, gap, started_at, committed_at, worker) values
        ('00000000-0000-7000-8000-000000000001', 'transactions', 'tally/t', 0, 1, 100, 109, 8, 8, 0, 0, 0, '{}', '{"marker": 2}', null,
            '2024-01-01 00:00:00', '2024-01-01 00:00:00', 'w'),
        ('00000000-0000-7000-8000-000000000002', 'transactions', 'tally/t', 0, 1, 110, 119, 0, 0, 0, 0, 0, '{}',
            '{"hole": 10}', 'compacted', '2024-01-01 00:00:00', '2024-01-01 00:00:00', 'w'),
        ('00000000-0000-7000-8000-000000000003', 'transactions', 'tally/t', 0, 1, 120, 149, 30, 28, 1, 1, 0, '{}', '{}', null,
            '2024-01-01 00:00:00', '2024-01-01 00:00:00', 'w'),
        ('00000000-0000-7000-8000-000000000004', 'transactions', 'tally/t', 0, 2, 0, 99, 0, 0, 0, 0, 0, '{}',
            '{"gap": 100}', 'positions set: why not', '2024-01-01 00:00:00', '2024-01-01 00:00:00', 'w'),
        ('00000000-0000-7000-8000-000000000005', 'transactions', 'tally/t', 0, 2, 100, 104, 5, 5, 0, 0, 0, '{}', '{}', null,
            '2024-01-01 00:00:00', '2024-01-01 00:00:00', 'w');
    insert into transactions (id, description, amount, timestamp, operation_type, side, origin, position)
        select '00000000-0000-0000-0000-0000ffff0001', '', '1.00', '2024-01-01 00:00:00', '', 'credit', id, 105
        from positions where stream = 'tally/t' and pass = 1"#;

impl Base {
    pub async fn new(target: Target) -> Self {
        let (sample, model) = (Sample::new(300, 0.1), ModelService::start());
        for flags in [&["--batch-size=100"][..], &["--batch-size=100", "--again"]] {
            sample.ingested(&target, &model, flags);
        }
        let found = target
            .query("select stream, position, code from dead_letters where pass = 1 order by position limit 1")
            .await;
        let text = |column: usize| found[0][column].clone().unwrap();
        let (stream, letter) = (text(0), text(1));
        target.execute(TOPIC).await;
        // The first dead letter failed once more.
        let place = DeadLetterIdentity {
            flow: "transactions".to_owned(),
            stream: stream.clone(),
            partition: 0,
            pass: 1,
            position: letter.parse().unwrap(),
            attempt: 2,
        };
        let of_letter = format!("pass = 1 and position = {letter}");
        target
            .execute(&format!(
                "update dead_letters set state = 'retried' where {of_letter};
                insert into dead_letters (id, flow, stream, partition, pass, position, attempt, batch_id, key, payload,
                    headers, stage, code, message, state, failed_at)
                select '{}', flow, stream, partition, pass, position, 2, batch_id, key, payload, headers, stage, code,
                    message, 'open', failed_at from dead_letters where {of_letter}",
                place.id()
            ))
            .await;
        for table in TABLES {
            target.execute(&format!("create table saved_{table} as select * from {table}")).await;
        }
        Self { target, stream, letter }
    }

    /// What was there before, changed by `sql`.
    pub async fn restore(&self, sql: &str) {
        let mut all = String::new();
        for table in TABLES {
            let overriding = match &self.target {
                Target::Postgres(_) if table == "positions" => "overriding system value",
                _ => "",
            };
            let saved = format!("select * from saved_{table};");
            let _ = write!(all, "delete from {table}; insert into {table} {overriding} {saved}");
        }
        self.target.execute(&(all + sql)).await;
    }

    /// After `sql` there is a violation of `kind` whose message holds all of `texts`.
    pub async fn check(&self, sql: &str, kind: &str, texts: &[&str]) {
        let sql = sql.replace("FILE", &self.stream).replace("LETTER", &self.letter);
        self.restore(&sql).await;
        let report = audited(&self.target, 65, &[]);
        let texts: Vec<String> = texts
            .iter()
            .map(|text| text.replace("FILE", &self.stream).replace("LETTER", &self.letter))
            .collect();
        let violations = report["violations"].as_array().unwrap();
        let is_named = violations.iter().any(|violation| {
            let message = violation["message"].as_str().unwrap();
            violation["kind"] == kind && texts.iter().all(|text| message.contains(text.as_str()))
        });
        assert!(is_named, "{sql}\nno {kind} {texts:?} in {violations:#?}");
        assert!(report["violation_counts"][kind].as_i64() > Some(0), "{report}");
    }
}
