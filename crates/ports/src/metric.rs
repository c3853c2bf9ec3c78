//! All metrics: names and descriptions.

/// A metric and its description.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    /// How its value moves.
    pub kind: Kind,
    /// What it counts, with its unit.
    pub help: &'static str,
}

/// How a value moves.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Its values are counted by size.
    Histogram,
}

macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// Every metric.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $constant, kind: Kind::$kind, help: $help }),*];
    };
}

metrics! {
    Counter BATCHES = "ingest_batches_total", "Batches committed";
    Counter ROWS = "ingest_rows_total", "Records of committed batches";
    Counter ROWS_WRITTEN = "ingest_rows_written_total", "Records whose effect was written";
    Counter ROWS_SUPERSEDED = "ingest_rows_superseded_total", "Records of which a newer version was written";
    Counter ROWS_SKIPPED = "ingest_rows_skipped_total", "Records that by the flow's rule have no effect";
    Counter ROW_BY_ROW_BATCHES = "ingest_row_by_row_batches_total", "Batches that the database could not take at once";
    Counter DEAD_LETTERS = "ingest_dead_letters_total", "Dead letters by stage and code";
    Counter ERRORS = "ingest_errors_total", "Failed calls to dependencies by source and stage";
    Histogram STAGE_DURATION = "ingest_stage_duration_seconds", "Seconds that a batch spent in a stage";
    Gauge INFLIGHT = "ingest_inflight", "Batches read and not yet committed";
    Gauge LAST_SUCCESS = "ingest_last_success_timestamp_seconds", "Unix time of the last commit";
    Gauge LAST_BATCH_SIZE = "ingest_last_batch_size", "Records of the last batch";
    Counter CSV_CHUNKS = "csv_chunks_total", "Batches read from CSV files";
    Counter CSV_ROWS_READ = "csv_rows_read_total", "Records read from CSV files";
    Gauge GATE_OPEN = "ingest_gate_open", "1 while the dependency answers, 0 during an outage";
    Gauge QUALITY_RATE = "ingest_quality_rate", "Share of the last batch's records that break the rule";
    Gauge OWNED_PARTITIONS = "ingest_owned_partitions", "Partitions owned by this process";
    Gauge FILES = "ingest_files", "Files found at a watched place by state";
    Gauge NEWEST_FILE_AGE = "ingest_newest_file_age_seconds", "Seconds since the newest file of a watched place was done";
    Gauge FILES_LATE = "ingest_files_late", "1 while the file that is expected each day is late";
    Counter KAFKA_RECORDS_POLLED = "kafka_records_polled_total", "Records read from a topic";
    Counter KAFKA_POLL_EMPTY = "kafka_poll_empty_total", "Fetches that found nothing new";
    Gauge KAFKA_LAG_RECORDS = "kafka_lag_records", "Records of a partition that are not committed yet";
    Gauge KAFKA_OLDEST_UNPROCESSED = "kafka_oldest_unprocessed_seconds", "Age in seconds of a partition's oldest uncommitted record";
    Gauge PARTITION_BLOCKED = "ingest_partition_blocked", "1 while a partition is stopped because its log cannot be read on";
    Counter PUBLISHED = "ingest_published_total", "Records published by flow and topic";
    Gauge COUNTS = "ingest_counts", "Totals of a flow's counters in the store: the ten greatest keys, and the sum of the rest as other";
    Gauge OUTBOX_BACKLOG = "ingest_outbox_backlog", "Records of the outbox that are not published yet";
    Gauge RELAY_BACKLOG = "ingest_relay_backlog", "Dead letters that were never published";
    Counter RELAY_PUBLISHED = "ingest_relay_published_total", "Dead letters published";
}
