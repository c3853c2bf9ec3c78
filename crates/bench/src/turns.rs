//! The runs, in turn.

use std::path::Path;

use anyhow::{Context, ensure};
use diesel::sql_types::BigInt;
use diesel::{Connection, RunQueryDsl, SqliteConnection};

use crate::Flags;
use crate::figures::{HEAD, Series, grouped, mib};
use crate::floor::Chunks;
use crate::machine;
use crate::runner::{self, Model, Run, Sample};
use crate::server::Server;

/// The database of each run into Postgres.
const DATABASE: &str = "run";

/// Takes all runs; the table of what they took.
pub async fn take(flags: &Flags) -> anyhow::Result<String> {
    let folder = runner::folder(&flags.dir)?;
    let folder = folder.path();
    let server = Server::start(folder)?;
    let model = Model::start(folder).await?;
    let sample = runner::sample(folder, flags.rows).await?;
    let chunks = Chunks::read(&sample)?;

    let mut floor = Series::new("floor: COPY and upsert");
    let mut postgres = Series::new("csv-runner into Postgres");
    let mut sqlite = Series::new("csv-runner into SQLite");
    for turn in 1..=flags.runs {
        eprintln!("turn {turn} of {}", flags.runs);
        keep(&mut floor, into_floor(&server, &chunks, flags.rows).await?);
        keep(&mut postgres, into_postgres(&server, folder, &sample, &model).await?);
        keep(&mut sqlite, into_sqlite(&server, folder, &sample, &model).await?);
    }
    let mut series = vec![floor, postgres, sqlite];
    if flags.memory_rows > 0 {
        let sample = runner::sample(folder, flags.memory_rows).await?;
        let mut memory = Series::new(format!("the same into Postgres, {} rows", flags.memory_rows));
        keep(&mut memory, into_postgres(&server, folder, &sample, &model).await?);
        series.push(memory);
    }

    let floor = series[0].median();
    let lines: Vec<String> = series.iter().map(|series| series.line(floor)).collect();
    Ok(format!(
        "{} rows; runs of each, in turn: {}; in {}\n{}\n{}\n\n{HEAD}\n{}",
        flags.rows,
        flags.runs,
        flags.dir.display(),
        machine::describe(),
        server.describe().await?,
        lines.join("\n"),
    ))
}

fn keep(series: &mut Series, run: Run) {
    let cpu =
        run.cpu_seconds.map_or_else(String::new, |seconds| format!(", {seconds:.1} s of CPU"));
    let peak = run.peak_kib.map_or_else(String::new, |peak| format!(", {} MiB", mib(peak)));
    eprintln!("  {}: {} rows/s{cpu}{peak}", series.what, grouped(run.rows_per_second));
    series.runs.push(run);
}

async fn into_floor(server: &Server, chunks: &Chunks, rows: u64) -> anyhow::Result<Run> {
    server.recreate(DATABASE).await?;
    let run = chunks.run(&mut server.connect(DATABASE).await?).await?;
    ensure_count(count_in_postgres(server).await?, rows)?;
    Ok(run)
}

async fn into_postgres(
    server: &Server,
    folder: &Path,
    sample: &Sample,
    model: &Model,
) -> anyhow::Result<Run> {
    server.recreate(DATABASE).await?;
    let run = runner::run(folder, sample, model, &server.url(DATABASE)).await?;
    ensure_count(count_in_postgres(server).await?, sample.rows)?;
    Ok(run)
}

async fn into_sqlite(
    server: &Server,
    folder: &Path,
    sample: &Sample,
    model: &Model,
) -> anyhow::Result<Run> {
    let own = tempfile::tempdir_in(folder)?;
    let path = own.path().join("tally.db");
    let path = path.to_str().context("a path that is not UTF-8 has no URL")?;
    server.settle().await?;
    let run = runner::run(folder, sample, model, &format!("sqlite:{path}")).await?;
    ensure_count(count_in_sqlite(path)?, sample.rows)?;
    Ok(run)
}

async fn count_in_postgres(server: &Server) -> anyhow::Result<i64> {
    let client = server.connect(DATABASE).await?;
    Ok(client.query_one("select count(*) from transactions", &[]).await?.get(0))
}

fn count_in_sqlite(path: &str) -> anyhow::Result<i64> {
    let count = diesel::dsl::sql::<BigInt>("select count(*) from transactions");
    Ok(count.get_result(&mut SqliteConnection::establish(path)?)?)
}

fn ensure_count(count: i64, rows: u64) -> anyhow::Result<()> {
    ensure!(u64::try_from(count) == Ok(rows), "the table holds {count} rows, not {rows}");
    Ok(())
}
