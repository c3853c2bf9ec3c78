set shell := ["bash", "-euo", "pipefail", "-c"]

# A shell condition: docker compose has an engine to talk to.
engine := '{ docker info && docker compose version; } >/dev/null 2>&1'

# List the recipes
default:
    @just --list --unsorted

# Take a CSV file through the model into ./tally.db and account for every row
[no-exit-message]
run-batch file='data/transactions_fr.csv' *flags:
    cargo build --release --package ml-api --package csv-runner --no-default-features
    infra/native/run-batch.sh target/release '{{file}}' {{flags}}

# Take a topic that the sample is sent to through the model into Postgres, until Ctrl-C; starts all it needs, and stops it
[no-exit-message]
run-stream file='data/transactions_fr.csv' *flags:
    cargo build --release --package ml-api --package kafka-consumer --package producer
    infra/native/run-stream.sh target/release '{{file}}' {{flags}}

# Take generated user logins from a topic to another one, counted in Postgres, until Ctrl-C; then print the counts
[no-exit-message]
run-logins *flags:
    cargo build --release --package kafka-consumer --package producer
    infra/native/run-logins.sh target/release {{flags}}

# Take generated events of companies and files of insolvencies into Postgres for a minute; then print the latest, a history and the insolvent ones
[no-exit-message]
run-companies *flags:
    cargo build --release --package kafka-consumer --package producer --package csv-runner --package tally-sample
    infra/native/run-companies.sh target/release {{flags}}

# Start Kafka, Postgres and the schema registry: by docker compose where an engine runs, else natively
up:
    @if {{ engine }}; then docker compose up --detach --wait && infra/native/services.sh schemas && infra/native/services.sh env; else infra/native/services.sh up; fi

# Stop what `just up` has started; data is kept
down:
    @if {{ engine }}; then docker compose down; else infra/native/services.sh down; fi

# Formatting, lints and docs, all without a warning
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --package csv-runner --no-default-features -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet

# Each behaviour once, against the real services
test: nextest
    cargo test --workspace --doc --quiet
    cargo build --workspace --bins
    cargo nextest run --workspace

# What `just test` leaves out: kills by the dozen, consumers that come and go for a minute
test-faults: nextest
    cargo build --workspace --bins
    cargo nextest run --workspace --profile faults

# Write ROWS sample transactions to standard output; --seed, --spoil SHARE, --delimiter
sample rows *flags:
    @cargo run --quiet --release --package tally-sample -- {{rows}} {{flags}}

# Rows per second and peak memory of the batch job beside the floor
bench-batch *flags:
    cargo build --release --package csv-runner --package ml-api --package tally-sample --package tally-bench
    target/release/bench {{flags}}

# Records per second and peak memory of producer and kafka-consumer, and the age of records at their commit
bench-stream *flags:
    cargo build --release --package kafka-consumer --package producer --package ml-api --package tally-sample --package tally-bench
    target/release/bench stream {{flags}}

# Records per second and peak memory of producer and of a flow that only publishes, at least once and exactly once, in --pairs (15)
bench-publish *flags:
    cargo build --release --package tally-bench-flow --package producer --package tally-sample --package tally-bench
    target/release/bench publish {{flags}}

# Records per second of user logins from topic to topic, in both deliveries, with and without counts, and the age of processed ones
bench-logins *flags:
    cargo build --release --package tally-bench-flow --package kafka-consumer --package producer --package tally-bench
    target/release/bench logins {{flags}}

# Seconds and peak memory of an audit over a ledger of --batches (1000000) batches, on Postgres and SQLite
bench-audit *flags:
    cargo build --release --package csv-runner --package ml-api --package tally-sample --package audit --package tally-bench
    target/release/bench audit {{flags}}

# Records per second and peak memory of the Kafka client alone over a topic of --records (1000000)
bench-kafka-client *flags:
    cargo build --release --package producer --package tally-sample --package tally-bench
    target/release/bench kafka-client {{flags}}

[private]
nextest:
    @command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest
