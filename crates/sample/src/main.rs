//! `sample`: writes a sample file to standard output.

use std::io::{self, BufWriter, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tally_sample::{Delimiter, Options, generate, insolvencies};

/// Exit code: standard output cannot be written.
const CANNOT_WRITE: u8 = 74;

/// Writes French bank transactions, or insolvencies, as CSV to standard output, the same for the same flags.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// How many rows to write, besides the header
    rows: u64,
    /// What the rows are
    #[arg(long, value_enum, default_value_t = Kind::Transactions)]
    kind: Kind,
    /// Chooses the contents
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The share of transactions to spoil, from 0 to 1: each fault in turn
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    spoil: f64,
    /// Of transactions: `;`, `,` or a tab; with `,` amounts have a decimal point
    #[arg(long, default_value = ";", value_parser = delimiter)]
    delimiter: Delimiter,
}

/// What rows are.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// French bank transactions.
    Transactions,
    /// Insolvent organisations.
    Insolvencies,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let options = Options {
        rows: flags.rows,
        seed: flags.seed,
        spoil_share: flags.spoil,
        delimiter: flags.delimiter,
    };
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let written = match flags.kind {
        Kind::Transactions => generate(&options, out),
        Kind::Insolvencies => insolvencies(flags.rows, flags.seed, out),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to standard output: {}", error.kind());
            ExitCode::from(CANNOT_WRITE)
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<Delimiter, String> {
    match text {
        ";" => Ok(Delimiter::Semicolon),
        "," => Ok(Delimiter::Comma),
        "\t" | "\\t" | "tab" => Ok(Delimiter::Tab),
        _ => Err("neither `;` nor `,` nor a tab".to_owned()),
    }
}
