set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes
default:
    @just --list --unsorted

# Take a CSV file through the model into ./tally.db and account for every row
run-batch file='data/transactions_fr.csv' *flags:
    cargo build --release --package ml-api --package csv-runner --no-default-features
    infra/native/run-batch.sh target/release '{{file}}' {{flags}}

# Formatting, lints and docs, all without a warning
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --package csv-runner --no-default-features -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet

# Every test, against the real services
test: nextest
    cargo test --workspace --doc --quiet
    cargo build --workspace --bins
    cargo nextest run --workspace

# Write ROWS sample transactions to standard output; --seed, --spoil SHARE, --delimiter
sample rows *flags:
    @cargo run --quiet --release --package tally-sample -- {{rows}} {{flags}}

# Rows per second and peak memory of the batch job beside the floor
bench-batch *flags:
    cargo build --release --package csv-runner --package ml-api --package tally-sample --package tally-bench
    target/release/bench-batch {{flags}}

[private]
nextest:
    @command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest
