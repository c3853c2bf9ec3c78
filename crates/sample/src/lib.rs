//! Seeded samples: files of French bank transactions as a bank exports them, logins of users, events of companies
//! and files of insolvencies, on request with faults in known
//! rows.
//!
//! One seed gives the same bytes for ever: a change of the output is a breaking change.

mod companies;
mod fault;
mod logins;
mod operations;
mod random;
mod row;

use std::io;

pub use companies::{COMPANY_FAULTS, Companies, CompanyFault, insolvencies};
pub use fault::{FAULTS, Fault};
pub use logins::{LOGIN_FAULTS, LoginFault, Logins};
use random::Random;
use row::Row;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How many rows follow the header.
    pub rows: u64,
    /// Chooses the contents; row `n` of a seed is the same in a file of any length.
    pub seed: u64,
    /// The share of rows with a fault, from 0 to 1; see [`Options::fault_of`].
    pub spoil_share: f64,
    /// The delimiter of fields, and with it the decimal sign.
    pub delimiter: Delimiter,
}

/// The delimiter of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// `;`, amounts have a decimal comma.
    Semicolon,
    /// `,`, amounts have a decimal point.
    Comma,
    /// A tab, amounts have a decimal comma.
    Tab,
}

impl Default for Options {
    /// `data/transactions_fr.csv` of the repository: 10,000 valid rows of seed 42.
    fn default() -> Self {
        Self { rows: 10_000, seed: 42, spoil_share: 0.0, delimiter: Delimiter::Semicolon }
    }
}

impl Options {
    /// The fault of row `row`, counted from 1 as the ids are. The spoiled rows are spread evenly, `rows *
    /// spoil_share` of them rounded to the nearest, and take the [`FAULTS`] in turn.
    pub fn fault_of(&self, row: u64) -> Option<Fault> {
        let before = spoiled(row.checked_sub(1)?, self.spoil_share);
        let spoiled_here = spoiled(row, self.spoil_share) > before;
        spoiled_here.then(|| FAULTS[before % FAULTS.len()])
    }
}

/// How many of the first `rows` rows have a fault, where a share of them has.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "exact up to 2^53 rows; a negative share is none"
)]
fn spoiled(rows: u64, share: f64) -> usize {
    (rows as f64 * share).round() as usize
}

/// Writes a header and `options.rows` rows to `out`, in constant memory; `out` is best buffered.
///
/// The columns are `id;description;amount;timestamp;merchant;operation_type;side`. Ids count from 1, a debit is
/// below 0, texts are quoted and amounts and timestamps are not.
///
/// Errs when `out` does.
pub fn generate(options: &Options, mut out: impl io::Write) -> io::Result<()> {
    let mut line = Vec::new();
    row::write_header(options.delimiter, &mut line);
    out.write_all(&line)?;

    let mut row = Row::default();
    for number in 1..=options.rows {
        row.fill(number, Random::of_row(options.seed, number), options.delimiter);
        if let Some(fault) = options.fault_of(number) {
            row.spoil(fault);
        }
        line.clear();
        row.write(options.delimiter, &mut line);
        out.write_all(&line)?;
    }
    out.flush()
}
