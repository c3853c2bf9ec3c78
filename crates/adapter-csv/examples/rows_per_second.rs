//! Reads a file of transactions and says how fast: `cargo run --release -p tally-adapter-csv --example
//! rows_per_second -- FILE [BATCH_SIZE]`.

use std::time::Instant;

use serde_json::Value;
use tally_adapter_csv::{CsvFile, Settings};
use tally_domain::transactions::Transactions;
use tally_ports::Source;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a file")?;
    let limit: usize = arguments.next().map_or(Ok(1000), |limit| limit.parse())?;

    let file = CsvFile::<Transactions>::open(path, &Settings::default()).await?;
    let started = Instant::now();
    file.fingerprint().await?;
    println!("fingerprint of {} bytes: {:.2?}", file.size(), started.elapsed());

    let started = Instant::now();
    let mut source = file.read_from(0, &Value::Null).await?;
    let (mut rows, mut refused) = (0_u32, 0_u32);
    while let Some(batch) = source.next_batch(limit).await? {
        for item in &batch.items {
            rows += 1;
            refused += u32::from(item.content.is_err());
        }
    }
    let elapsed = started.elapsed();
    println!(
        "{rows} rows, {refused} refused: {elapsed:.2?}, {:.0} rows/s",
        f64::from(rows) / elapsed.as_secs_f64()
    );
    Ok(())
}
