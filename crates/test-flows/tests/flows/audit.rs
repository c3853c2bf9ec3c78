//! What each kind of write must have left: damage is found and named.

use std::ffi::{OsStr, OsString};

use serde_json::{Value, json};
use tally_harness::http::{Reply, Request, ScriptedServer};
use tally_harness::job::{Target, ended_with};

use crate::on_both_stores;
use crate::support::{Table, audited, audited_with, consume, counts, program, says, take, topic};

on_both_stores! {
    rows_that_were_appended
    rows_of_a_replay_of_an_earlier_pass
    rows_with_a_composite_key
    rows_with_a_number_as_key
    marks_of_deletes
    sums_of_counters
    counters_after_dead_letters
    counters_of_a_topic
    a_file_is_compared_as_the_flows_that_have_read_it
}

/// Flags that give these files, of the flow or of those that have read them.
fn sources(flow: Option<&str>, tables: &[&Table]) -> Vec<OsString> {
    let flow = flow.map(|flow| ["--flow".into(), flow.into()]);
    let mut flags: Vec<OsString> = flow.into_iter().flatten().collect();
    for table in tables {
        flags.extend(["--source".into(), table.path().into()]);
    }
    flags
}

/// A database and the flags with which it is audited.
struct Audit {
    target: Target,
    flags: Vec<OsString>,
}

impl Audit {
    #[track_caller]
    fn clean(&self) -> Value {
        audited(&self.target);
        self.finds(&[])
    }

    #[track_caller]
    fn finds(&self, kinds: &[&str]) -> Value {
        let flags: Vec<&OsStr> = self.flags.iter().map(AsRef::as_ref).collect();
        audited_with(&self.target, &flags, kinds)
    }

    /// After `sql`, which `undo` takes back, there are violations of these kinds, of which one says this.
    async fn damaged(&self, sql: &str, undo: &str, kinds: &[&str], texts: &[&str]) {
        self.target.execute(sql).await;
        says(&self.finds(kinds), texts);
        self.target.execute(undo).await;
        self.finds(&[]);
    }

    /// As [`damaged`](Self::damaged) with rows of `table` that are gone.
    async fn without(&self, table: &str, of: &str, kinds: &[&str], texts: &[&str]) {
        self.target
            .execute(&format!("create table saved as select * from {table} where {of}"))
            .await;
        let undo = format!("insert into {table} select * from saved; drop table saved");
        self.damaged(&format!("delete from {table} where {of}"), &undo, kinds, texts).await;
    }
}

async fn rows_that_were_appended(target: Target) {
    let table = Table::new(&[
        "sensor;at;value;second_value;is_valid;details",
        "a;2024-01-15 08:30:00;1;;;",
        "b;2024-01-15 08:30:00;2;3;;",
        "c;yesterday;4;;;",
        "broken;2024-01-15 08:30:00;4;;;",
        "d;2024-01-15 08:30:00;5;6;;",
        "e;2024-01-15 08:30:00;7;;;",
    ]);
    let summary = take("readings", &target, &table, &["--batch-size", "3"]);
    assert_eq!(counts(&summary), [6, 4, 0, 0, 2]);
    let audit = Audit { target, flags: Vec::new() };
    let with_source = |target| Audit { target, flags: sources(Some("readings"), &[&table]) };

    // By the ledger alone.
    audit.clean();
    let of_batch =
        ["readings file/", "partition 0 pass 1: 1 records have appended rows from 0 to 2"];
    audit.without("readings", "position = 0", &["appended_rows"], &of_batch).await;
    let first = ["the record at 4 has 1 rows in readings, and the last one has the number 1"];
    audit.without("readings", "position = 4 and n = 0", &["appended_rows"], &first).await;
    let copy = |position: i64, stream: &str| {
        format!(
            "insert into readings select flow, {stream}, partition, log, {position}, n, 'foreign', at, value, is_valid, \
             details from readings where position = 0"
        )
    };
    let undo = "delete from readings where sensor = 'foreign'";
    let of_letter = ["3 records have appended rows from 0 to 2, and batch "];
    audit.damaged(&copy(2, "stream"), undo, &["appended_rows"], &of_letter).await;
    let from_nothing = ["1 rows in readings come from between 6 and 6"];
    audit.damaged(&copy(6, "stream"), undo, &["rows_from_nothing"], &from_nothing).await;
    let elsewhere = ["readings elsewhere partition 0 log 1: 1 rows in readings come from"];
    audit.damaged(&copy(0, "'elsewhere'"), undo, &["rows_from_nothing"], &elsewhere).await;

    // Record by record; a re-read changes nothing.
    let audit = with_source(audit.target);
    audit.clean();
    take("readings", &audit.target, &table, &["--again", "--batch-size", "4"]);
    audit.clean();
    let last = ["pass 2: the record at 4 has 1 rows in readings, and appends 2"];
    audit.without("readings", "position = 4 and n = 1", &["appended_rows"], &last).await;
    let of_letter = ["pass 2: the record at 2 has 1 rows in readings, and appends 0"];
    audit.damaged(&copy(2, "stream"), undo, &["appended_rows"], &of_letter).await;
    let letter = ["the record at 2 was read and has neither a row nor a dead letter"];
    let kinds = ["dead_letter_count", "record_missing"];
    audit.without("dead_letters", "position = 2 and pass = 2", &kinds, &letter).await;
}

async fn rows_of_a_replay_of_an_earlier_pass(target: Target) {
    let header = "sensor;at;value;second_value;is_valid;details";
    let table = Table::new(&[header, "a;2024-01-15 08:30:00;1;;;", "b;2024-01-15 08:30:00;2;3;;"]);
    take("readings", &target, &Table::new(&[header]), &[]);
    let taken = "create unique index one on readings (sensor, value);
        insert into readings (flow, stream, partition, log, position, n, sensor, at, value)
        values ('readings', 'elsewhere', 0, 1, 0, 0, 'b', '2024-01-15 08:30:00Z', '3.000')";
    target.execute(taken).await;
    assert_eq!(counts(&take("readings", &target, &table, &[])), [2, 1, 0, 0, 1]);
    assert_eq!(counts(&take("readings", &target, &table, &["--again"])), [2, 1, 0, 0, 1]);
    target.execute("delete from readings where stream = 'elsewhere'").await;
    let act = |flags: &[&str]| {
        let dead_letters = program("dead-letters").args(["--database-url", &target.url()]);
        ended_with(&dead_letters.args(flags).spawn(), 0);
    };
    act(&["discard", "--pass", "2", "--reason", "test"]);
    act(&["replay", "--pass", "1"]);
    assert_eq!(target.number("select count(*) from readings").await, 3);
    audited(&target);
    let audit = Audit { target, flags: sources(Some("readings"), &[&table]) };
    audit.clean();
    let number = ["the record at 1 has 1 rows in readings, and appends 2"];
    audit.without("readings", "position = 1 and n = 1", &["appended_rows"], &number).await;
}

async fn rows_with_a_composite_key(target: Target) {
    let table = Table::new(&[
        "tenant;number;name;settings;updated_at",
        "x;1;ann;{};2024-01-02 00:00:00",
        "x;1;anna;;2024-01-03 00:00:00",
        "x;1;an;;2024-01-01 00:00:00",
        "y;1;bob;;2024-01-01 00:00:00",
        "y;2;nobody;;2024-01-01 00:00:00",
    ]);
    assert_eq!(counts(&take("profiles", &target, &table, &[])), [5, 4, 0, 0, 1]);
    let audit = Audit { target, flags: sources(Some("profiles"), &[&table]) };
    audit.clean();
    let key = [
        "the record at 3 was read and has neither a row nor a dead letter: profiles lacks its key",
    ];
    let of = "tenant = 'y' and number = 1";
    audit.without("profiles", of, &["record_missing"], &key).await;
    let raw = ["the record at 2 has 0 rows in profiles_raw, and appends 1"];
    audit.without("profiles_raw", "position = 2", &["appended_rows"], &raw).await;
}

fn assess(request: &Request) -> Reply {
    let claims: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
    let answer = claims
        .iter()
        .map(|claim| json!({"number": claim["number"], "score": 0.5, "decision": "pay"}));
    Reply::json(serde_json::to_vec(&answer.collect::<Vec<_>>()).unwrap())
}

async fn rows_with_a_number_as_key(target: Target) {
    let model = ScriptedServer::start(assess).await;
    let table = Table::new(&["number;claimant;amount;is_withdrawn", "1;ann;100.5;", "2;bob;9;"]);
    take("claims", &target, &table, &["--ml-url", &model.url()]);
    let audit = Audit { target, flags: sources(Some("claims"), &[&table]) };
    audit.clean();
    let key = ["the record at 1 was read and has neither", "claims lacks its key"];
    audit.without("claims", "number = 2", &["record_missing"], &key).await;
}

async fn marks_of_deletes(target: Target) {
    let change = |op: &str, id: u32| {
        format!(r#"{{"op": "{op}", "id": {id}, "customer": "ann", "amount": 1}}"#)
    };
    let values = [change("c", 1), change("d", 1), change("c", 2), change("d", 3), change("c", 3)];
    let mut records: Vec<_> = values.iter().map(|value| (None, Some(value.as_str()))).collect();
    records.insert(2, (Some("k"), None));
    let (broker, topic) = topic(&records).await;
    consume("contracts", &target, broker, &topic, &["--batch-size", "4"]);
    let skipped = "select sum(skipped) from batches";
    assert_eq!(target.number(skipped).await, 1);
    let flags = ["--flow", "contracts", "--brokers", broker.bootstrap(), "--topic", &topic];
    let audit = Audit { target, flags: flags.map(OsString::from).into() };
    audit.clean();
    let no_mark = ["the record at 1 deleted its row in contracts, and the row has no mark"];
    audit
        .damaged(
            "create table saved as select deleted_at from contracts where position = 1;
            update contracts set deleted_at = null, customer = '', amount = 0 where position = 1",
            "update contracts set deleted_at = (select deleted_at from saved) where position = 1; drop table saved",
            &["delete_mark"],
            &no_mark,
        )
        .await;
    let gone = ["the record at 1 was read and has neither", "contracts lacks its key"];
    audit.without("contracts", "position = 1", &["record_missing"], &gone).await;
    let mark = ["the record at 3 wrote its row in contracts, and the row is marked as deleted"];
    audit
        .damaged(
            "update contracts set deleted_at = (select max(deleted_at) from contracts) where position = 3",
            "update contracts set deleted_at = null where position = 3",
            &["delete_mark"],
            &mark,
        )
        .await;
}

async fn sums_of_counters(target: Target) {
    let header = "page;visitor;seconds";
    let first = Table::new(&[header, "/;ann;1.5", "/;bob;2.25", "/about;ann;0.1", "/;ann;x"]);
    let second = Table::new(&[header, "/;cem;100"]);
    take("clicks", &target, &first, &["--batch-size", "2"]);
    take("clicks", &target, &second, &[]);
    take("clicks", &target, &first, &["--again"]);
    let audit = Audit { target, flags: sources(Some("clicks"), &[&first, &second]) };
    assert_eq!(audit.clean()["not_compared"], json!([]));
    let sum = [
        r#"clicks: clicks_by_page has clicks 3, seconds 103.76 under ["/"]"#,
        "the records that were counted come to clicks 3, seconds 103.75",
    ];
    let set = |seconds| format!("update clicks_by_page set seconds = '{seconds}' where page = '/'");
    audit.damaged(&set("103.76"), &set("103.75"), &["counter_sum"], &sum).await;
    let gone = [r#"clicks_by_visitor has no row under ["bob"]"#, "come to clicks 1"];
    audit.without("clicks_by_visitor", "visitor = 'bob'", &["counter_sum"], &gone).await;
    let foreign = [r#"clicks_by_visitor has clicks 1 under ["eve"]"#, "come to nothing"];
    let insert = "insert into clicks_by_visitor values ('eve', 1)";
    let delete = "delete from clicks_by_visitor where visitor = 'eve'";
    audit.damaged(insert, delete, &["counter_sum"], &foreign).await;

    // Without the whole of what was counted nothing can be said of a sum.
    let audit = Audit { target: audit.target, flags: sources(Some("clicks"), &[&first]) };
    audit.target.execute(insert).await;
    let report = audit.finds(&[]);
    let [left] = report["not_compared"].as_array().unwrap().as_slice() else {
        panic!("{report:#}")
    };
    assert_eq!(left["flow"], json!("clicks"));
    let why = left["why"].as_str().unwrap();
    assert!(
        why.starts_with("file/") && why.ends_with("was counted and is not given for clicks"),
        "{why}"
    );
    let output = ended_with(
        &program("audit").args(["--database-url", &audit.target.url()]).args(&audit.flags).spawn(),
        0,
    );
    assert!(output.stdout.contains("clicks: the counters were not compared: file/"), "{output}");
}

async fn counters_after_dead_letters(target: Target) {
    let header = "page;visitor;seconds";
    let table = Table::new(&[header, "/;ann;1", "/;bob;2", "/;cem;4"]);
    take("clicks", &target, &Table::new(&[header]), &[]);
    target.execute("insert into clicks_by_visitor values ('bob', 999), ('cem', 999)").await;
    assert_eq!(counts(&take("clicks", &target, &table, &[])), [3, 1, 0, 0, 2]);
    target.execute("delete from clicks_by_visitor where clicks = 999").await;
    let audit = Audit { target, flags: sources(Some("clicks"), &[&table]) };
    audit.clean();
    let act = |flags: &[&str]| {
        let dead_letters = program("dead-letters").args(["--database-url", &audit.target.url()]);
        ended_with(&dead_letters.args(flags).spawn(), 0);
    };
    act(&["replay", "--position", "1"]);
    assert_eq!(audit.target.number("select sum(clicks) from clicks_by_page").await, 2);
    audit.clean();
    // A re-read counts nothing twice, but what was left out.
    take("clicks", &audit.target, &table, &["--again"]);
    assert_eq!(audit.target.number("select sum(clicks) from clicks_by_page").await, 3);
    assert_eq!(audit.clean()["not_compared"], json!([]));
    act(&["purge", "--position", "2"]);
    let report = audit.clean();
    let why = report["not_compared"][0]["why"].as_str().unwrap();
    assert!(why.contains("the dead letter at 2 is purged"), "{why}");
}

async fn counters_of_a_topic(target: Target) {
    let click = |visitor: &str| format!(r#"{{"page": "/", "visitor": "{visitor}", "seconds": 1}}"#);
    let values = [click("ann"), click("bob"), click("ann")];
    let records: Vec<_> = values.iter().map(|value| (None, Some(value.as_str()))).collect();
    let (broker, topic) = topic(&records).await;
    consume("clicks", &target, broker, &topic, &[]);
    let flags = ["--flow", "clicks", "--brokers", broker.bootstrap(), "--topic", &topic];
    let audit = Audit { target, flags: flags.map(OsString::from).into() };
    assert_eq!(audit.clean()["not_compared"], json!([]));
    let sum = [r#"clicks_by_visitor has clicks 3 under ["ann"]"#, "come to clicks 2"];
    let set =
        |clicks| format!("update clicks_by_visitor set clicks = {clicks} where visitor = 'ann'");
    audit.damaged(&set(3), &set(2), &["counter_sum"], &sum).await;

    // Given for the first flow only, beside a file of this one.
    let table = Table::new(&["page;visitor;seconds", "/;ann;1"]);
    take("clicks", &audit.target, &table, &[]);
    let mut flags = audit.flags[2..].to_vec();
    flags.extend(sources(None, &[&table]));
    let elsewhere = Audit { target: audit.target, flags };
    let report = elsewhere.finds(&["source_unknown"]);
    let why = report["not_compared"][0]["why"].as_str().unwrap();
    assert!(why.contains(&format!("{topic} was counted and is not given for clicks")), "{why}");
    let mut flags = audit.flags.clone();
    flags.extend(sources(None, &[&table]));
    let audit = Audit { target: elsewhere.target, flags };
    assert_eq!(audit.clean()["not_compared"], json!([]));

    broker.delete_records(&topic, 0, 1).await;
    let report = audit.finds(&[]);
    let why = report["not_compared"][0]["why"].as_str().unwrap();
    assert!(why.contains("not all records that were counted are in the log"), "{why}");
}

async fn a_file_is_compared_as_the_flows_that_have_read_it(target: Target) {
    let header = "sensor;at;value;second_value;is_valid;details;page;visitor;seconds";
    let table = Table::new(&[header, "a;2024-01-15 08:30:00;1;;;;/;ann;1"]);
    let other = Table::new(&[header, "b;2024-01-15 08:30:00;1;;;;/;ann;1"]);
    let flows = |report: &Value| -> Vec<String> {
        let files = report["files"].as_array().unwrap().iter();
        files.map(|file| file["flow"].as_str().unwrap().to_owned()).collect()
    };
    take("clicks", &target, &table, &[]);
    let audit = Audit { target, flags: sources(None, &[&table]) };
    assert_eq!(flows(&audit.clean()), ["clicks"]);
    take("readings", &audit.target, &table, &[]);
    assert_eq!(flows(&audit.clean()), ["readings", "clicks"]);
    let sum = ["clicks: clicks_by_page has no row"];
    audit.without("clicks_by_page", "page = '/'", &["counter_sum"], &sum).await;
    let row = ["readings file/", "the record at 0 has 0 rows in readings"];
    audit.without("readings", "position = 0", &["appended_rows"], &row).await;

    // The first flow is meant where the ledger knows none.
    let unread = Audit { target: audit.target, flags: sources(None, &[&other]) };
    let report = unread.finds(&["source_unknown"]);
    says(&report, &["which has 1 rows, was never read"]);
    assert_eq!(flows(&report), ["readings"]);
    let named = Audit { target: unread.target, flags: sources(Some("claims"), &[&table]) };
    let flags: Vec<&OsStr> = named.flags.iter().map(AsRef::as_ref).collect();
    let process = program("audit").args(["--database-url", &named.target.url()]).args(flags);
    let output = ended_with(&process.spawn(), 66);
    assert!(output.stderr.contains("number"), "{output}");
}
