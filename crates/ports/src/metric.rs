//! The names of all metrics.

/// Batches committed.
pub const BATCHES: &str = "ingest_batches_total";
/// Records of committed batches.
pub const ROWS: &str = "ingest_rows_total";
/// Records whose effect was written.
pub const ROWS_WRITTEN: &str = "ingest_rows_written_total";
/// Records of which a newer version was written.
pub const ROWS_SUPERSEDED: &str = "ingest_rows_superseded_total";
/// Records without effect.
pub const ROWS_SKIPPED: &str = "ingest_rows_skipped_total";
/// Dead letters by `stage` and `code`.
pub const DEAD_LETTERS: &str = "ingest_dead_letters_total";
/// Faults of dependencies by `source` and `stage`.
pub const ERRORS: &str = "ingest_errors_total";
/// Seconds that a batch spent in a `stage`.
pub const STAGE_DURATION: &str = "ingest_stage_duration_seconds";
/// Batches read and not yet committed.
pub const INFLIGHT: &str = "ingest_inflight";
/// Unix time of the last commit.
pub const LAST_SUCCESS: &str = "ingest_last_success_timestamp_seconds";
/// Records of the last batch.
pub const LAST_BATCH_SIZE: &str = "ingest_last_batch_size";
/// Batches read from CSV files.
pub const CSV_CHUNKS: &str = "csv_chunks_total";
/// Records read from CSV files.
pub const CSV_ROWS_READ: &str = "csv_rows_read_total";
/// 1 while the gate of a `dependency` is open, 0 during an outage.
pub const GATE_OPEN: &str = "ingest_gate_open";
/// The rate of a quality `rule` in the last batch.
pub const QUALITY_RATE: &str = "ingest_quality_rate";
/// Partitions owned by this process.
pub const OWNED_PARTITIONS: &str = "ingest_owned_partitions";
/// Records fetched from a topic.
pub const KAFKA_RECORDS_POLLED: &str = "kafka_records_polled_total";
/// Fetches that found nothing new.
pub const KAFKA_POLL_EMPTY: &str = "kafka_poll_empty_total";
/// Records of a `topic`'s `partition` that are not committed yet.
pub const KAFKA_LAG_RECORDS: &str = "kafka_lag_records";
/// Age of the oldest record of a `topic`'s `partition` that is not committed yet.
pub const KAFKA_OLDEST_UNPROCESSED: &str = "kafka_oldest_unprocessed_seconds";
/// 1 while a `partition` is stopped because its log cannot be read on.
pub const PARTITION_BLOCKED: &str = "ingest_partition_blocked";
/// Dead letters that were never published.
pub const RELAY_BACKLOG: &str = "ingest_relay_backlog";
/// Dead letters published.
pub const RELAY_PUBLISHED: &str = "ingest_relay_published_total";
