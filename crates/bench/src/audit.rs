//! How long `audit` takes over a large ledger, and in what memory.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, RunQueryDsl, SqliteConnection, sql_query};
use serde_json::{Value, json};
use tally_ports::DeadLetterIdentity;

use crate::figures::{Spread, grouped, mib};
use crate::machine;
use crate::measure::{Measured, Usage};
use crate::runner::{self, Model};
use crate::server::Server;

const DATABASE: &str = "audited";
const PARTITIONS: u64 = 16;
/// Records of a batch.
const RECORDS: u64 = 1_000;
/// Each of so many batches has a dead letter.
const BATCHES_PER_LETTER: u64 = 10;

/// How much there is to audit.
pub struct Size {
    /// Batches in the ledger.
    pub batches: u64,
    /// Runs on each store.
    pub runs: u64,
}

/// Fills a ledger on each store and audits it; the table of what that took.
///
/// A topic of 16 partitions, in each the last range a gap, so that the rows are looked at one by one, too; a dead
/// letter in each tenth batch, a row of each batch that is left.
pub async fn take(size: &Size, dir: &Path) -> anyhow::Result<String> {
    let batches = size.batches / PARTITIONS * PARTITIONS;
    let folder = runner::folder(dir)?;
    let folder = folder.path();
    let server = Server::start(folder)?;
    let model = Model::start(folder).await?;
    // So the tables are those that a real run makes.
    let sample = runner::sample(folder, RECORDS).await?;
    let path = folder.join("tally.db");
    let path = path.to_str().context("a path that is not UTF-8 has no URL")?;

    server.recreate(DATABASE).await?;
    runner::run(folder, &sample, &model, &server.url(DATABASE)).await?;
    fill_postgres(&server, batches).await?;
    runner::run(folder, &sample, &model, &format!("sqlite:{path}")).await?;
    fill_sqlite(path, batches)?;
    server.settle().await?;
    drop(model);

    let mut lines = String::new();
    for (store, url) in [("Postgres", server.url(DATABASE)), ("SQLite", format!("sqlite:{path}"))] {
        let (mut seconds, mut peak) = (Vec::new(), 0);
        for _ in 0..size.runs {
            let usage = run(folder, &url, batches).await?;
            eprintln!("  {store}: {:.1} s, {} MiB", usage.seconds, mib(usage.peak_kib));
            seconds.push(usage.seconds);
            peak = peak.max(usage.peak_kib);
        }
        let Spread { least, median, greatest } =
            Spread::of(seconds.into_iter()).context("an audit runs at least once")?;
        let peak = mib(peak);
        writeln!(lines, "| {store} | {median:.2} ({least:.2}-{greatest:.2}) | {peak} |")?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let number = |number: u64| grouped(number as f64);
    Ok(format!(
        "audit of {} batches with {} records, {} dead letters and {} rows; runs of each: {}; in {}\n{}\n{}\n\n\
         | store | seconds: median (min-max) | peak MiB of audit |\n| --- | --- | --- |\n{}",
        number(batches),
        number(batches * RECORDS),
        number(batches / BATCHES_PER_LETTER),
        number(batches),
        size.runs,
        dir.display(),
        machine::describe(),
        server.describe().await?,
        lines.trim_end(),
    ))
}

/// A run that found nothing wrong, and as much as there is.
async fn run(folder: &Path, url: &str, batches: u64) -> anyhow::Result<Usage> {
    let usage = Measured::start("audit", folder, ["--output", "json"], &[("DATABASE_URL", url)])?
        .end()
        .await?;
    let report: Value = serde_json::from_str(&usage.output)?;
    let found = report["total"]["batches"].as_u64();
    anyhow::ensure!(found.is_some_and(|found| found >= batches), "{found:?} of {batches} batches");
    Ok(usage)
}

/// For both stores; `{id}` is the text of the id of number `n`, and all of `s` are the numbers from 0 on.
const POSITIONS: &str = "
    insert into positions (flow, stream, partition, pass, label, next, epoch, updated_at)
    select 'transactions', 'tally/audited', n, 1, 'audited', {each} * {records}, 1, '2026-01-01 00:00:00'
    from s where n < {partitions}";

const BATCHES: &str = "
    insert into batches (id, flow, stream, partition, pass, first, last, read, written, superseded, skipped,
        dead_lettered, quality, passed, gap, started_at, committed_at, worker)
    select {id}, 'transactions', 'tally/audited', n / {each}, 1,
        (n % {each}) * {records}, (n % {each}) * {records} + {records} - 1,
        case when n % {each} = {each} - 1 then 0 else {records} end,
        case when n % {each} = {each} - 1 then 0 when n % {letters} = 0 then {records} - 1 else {records} end, 0, 0,
        case when n % {each} <> {each} - 1 and n % {letters} = 0 then 1 else 0 end, '{}',
        cast(case when n % {each} = {each} - 1 then '{\"hole\": {records}}' else '{}' end as {json}),
        case when n % {each} = {each} - 1 then 'compacted' end, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 'bench'
    from s";

const ROWS: &str = "
    insert into transactions (id, description, amount, timestamp, operation_type, side, origin, position)
    select {id}, 'PAIEMENT CARTE 1234', '1.00', '2026-01-01 00:00:00', 'payment', 'credit', p.id,
        (n % {each}) * {records} + 1
    from s join positions p on p.stream = 'tally/audited' and p.partition = n / {each}
    where n % {each} <> {each} - 1";

const DEAD_LETTERS: &str = "
    insert into dead_letters (id, flow, stream, partition, pass, position, attempt, batch_id, payload, headers, stage,
        code, message, failed_at)
    select {letter}, b.flow, b.stream, b.partition, b.pass, b.first, 1, b.id, {payload}, '[]', 'decode', 'json',
        'the record is no JSON', '2026-01-01 00:00:00'
    from {given} join batches b on b.id = {batch}";

fn with_size(sql: &str, batches: u64) -> String {
    let values = [
        ("{each}", batches / PARTITIONS),
        ("{records}", RECORDS),
        ("{partitions}", PARTITIONS),
        ("{letters}", BATCHES_PER_LETTER),
    ];
    values.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, &value.to_string()))
}

/// The id of a batch's dead letter and that of the batch, as JSON.
fn letters(batches: u64) -> Value {
    let each = batches / PARTITIONS;
    let letter = |n: u64| {
        let place = DeadLetterIdentity {
            flow: "transactions".to_owned(),
            stream: "tally/audited".to_owned(),
            partition: i32::try_from(n / each).unwrap_or(i32::MAX),
            pass: 1,
            position: i64::try_from(n % each * RECORDS).unwrap_or(i64::MAX),
            attempt: 1,
        };
        json!([place.id(), format!("00000000-0000-7000-8000-{n:012x}")])
    };
    let has_letter = |n: &u64| n.is_multiple_of(BATCHES_PER_LETTER) && n % each != each - 1;
    (0..batches).filter(has_letter).map(letter).collect()
}

async fn fill_postgres(server: &Server, batches: u64) -> anyhow::Result<()> {
    let client = server.connect(DATABASE).await?;
    let id = "('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
    let last = batches - 1;
    for sql in [POSITIONS, BATCHES, ROWS] {
        let series = format!("generate_series(0, {last}) as s(n)");
        let sql = with_size(sql, batches)
            .replace("{id}", id)
            .replace("{json}", "json")
            .replace("from s", &format!("from {series}"));
        client.execute(&sql.replace("'1.00'", "1.00"), &[]).await?;
    }
    let sql = DEAD_LETTERS
        .replace("{letter}", "(g.value ->> 0)::uuid")
        .replace("{batch}", "(g.value ->> 1)::uuid")
        .replace("{payload}", "'{\"id\": 1'::bytea")
        .replace("{given}", "json_array_elements($1::text::json) as g(value)");
    client.execute(&sql, &[&letters(batches).to_string()]).await?;
    client.batch_execute("vacuum analyze").await?;
    Ok(())
}

fn fill_sqlite(path: &str, batches: u64) -> anyhow::Result<()> {
    let mut connection = SqliteConnection::establish(path)?;
    connection.batch_execute("pragma synchronous = off; begin")?;
    let id = "printf('00000000-0000-7000-8000-%012x', n)";
    for sql in [POSITIONS, BATCHES, ROWS] {
        let numbers = format!(
            "with recursive s (n) as (select 0 union all select n + 1 from s where n + 1 < {batches})"
        );
        let sql = with_size(sql, batches).replace("{id}", id).replace("{json}", "text");
        connection.batch_execute(&format!("{numbers} {sql}"))?;
    }
    let sql = DEAD_LETTERS
        .replace("{letter}", "g.value ->> 0")
        .replace("{batch}", "g.value ->> 1")
        .replace("{payload}", "cast('{\"id\": 1' as blob)")
        .replace("{given}", "json_each(?) g");
    sql_query(sql).bind::<Text, _>(letters(batches).to_string()).execute(&mut connection)?;
    connection.batch_execute("commit; pragma wal_checkpoint(truncate)")?;
    Ok(())
}
