//! The least that the rows cost in Postgres: COPY into a staging table and one upsert from there, 1,000 rows in each
//! transaction, without a model, positions or a ledger.
//!
//! Only the database's work is timed: the file is read and turned into what COPY takes before the clock starts.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::runner::{Run, Sample, rate};

/// As many as csv-runner takes at once by default.
const CHUNK: usize = 1000;

/// The model is not asked; its answers are about as long.
const CATEGORY: &str = "Restaurant";

const UPSERT: &str = "
    insert into transactions select * from staging
    on conflict (id) do update set
        description = excluded.description, amount = excluded.amount, timestamp = excluded.timestamp,
        merchant = excluded.merchant, operation_type = excluded.operation_type, side = excluded.side,
        category = excluded.category, origin = excluded.origin, position = excluded.position";

/// The rows of a sample, ready for COPY.
pub struct Chunks {
    rows: u64,
    chunks: Vec<Bytes>,
}

impl Chunks {
    /// Reads a sample.
    pub fn read(sample: &Sample) -> anyhow::Result<Self> {
        let mut lines = BufReader::new(File::open(&sample.path)?).lines();
        lines.next().context("no header")??;
        let (mut chunks, mut chunk, mut rows) = (Vec::new(), String::new(), 0);
        for line in lines {
            push_row(&line?, rows, &mut chunk)?;
            rows += 1;
            if rows % CHUNK as u64 == 0 {
                chunks.push(std::mem::take(&mut chunk).into());
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk.into());
        }
        ensure!(rows == sample.rows, "the sample has {rows} rows, not {}", sample.rows);
        Ok(Self { rows, chunks })
    }

    /// Takes them into the empty database that `client` is connected to.
    pub async fn run(&self, client: &mut Client) -> anyhow::Result<Run> {
        client.batch_execute(&migrations()?).await?;
        client
            .batch_execute("create temp table staging (like transactions) on commit delete rows")
            .await?;
        let copy = client.prepare("copy staging from stdin").await?;
        let upsert = client.prepare(UPSERT).await?;

        let started = Instant::now();
        for chunk in &self.chunks {
            let transaction = client.transaction().await?;
            let mut staging = Box::pin(transaction.copy_in(&copy).await?);
            staging.send(chunk.clone()).await?;
            staging.as_mut().finish().await?;
            transaction.execute(&upsert, &[]).await?;
            transaction.commit().await?;
        }
        let seconds = started.elapsed().as_secs_f64();

        let rows_per_second = rate(self.rows, seconds);
        Ok(Run {
            rows_per_second,
            summary_rows_per_second: None,
            cpu_seconds: None,
            peak_kib: None,
        })
    }
}

/// The very definition that csv-runner writes into.
fn migrations() -> anyhow::Result<String> {
    let folder =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres/transactions"));
    let mut paths = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut sql = String::new();
    for path in
        paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
    {
        sql += &std::fs::read_to_string(path)?;
    }
    Ok(sql)
}

/// Appends a row as COPY's text form has it. Takes what the sample writes and no more: no quote, delimiter or
/// backslash inside a text.
fn push_row(line: &str, position: u64, text: &mut String) -> anyhow::Result<()> {
    let fields: Vec<&str> = line.split(';').map(|field| field.trim_matches('"')).collect();
    let &[id, description, amount, timestamp, merchant, operation_type, side] = fields.as_slice()
    else {
        bail!("row {position} of the sample has {} fields", fields.len());
    };
    ensure!(!line.contains(['\\', '\t']), "row {position} of the sample needs escapes");
    let id = Uuid::from_u128(id.parse()?);
    let amount = amount.replace(',', ".");
    let merchant = if merchant.is_empty() { r"\N" } else { merchant };
    let fields = [description, &amount, timestamp, merchant, operation_type, side, CATEGORY];
    Ok(writeln!(text, "{id}\t{}\t1\t{position}", fields.join("\t"))?)
}
