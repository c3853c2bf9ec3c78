//! Bank transactions: the first flow.

mod faults;
mod message;
mod quality;
mod validate;

use std::fmt;

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::message::Message;
pub use self::quality::Stats;
use crate::amount::{Amount, Notation};
use crate::{Classified, Column, Flow, Kind, Reason};

/// The flow of bank transactions.
#[derive(Clone, Copy, Debug)]
pub struct Transactions;

impl Flow for Transactions {
    const NAME: &'static str = "transactions";
    const COLUMNS: &'static [Column] = &[
        Column { name: "id", kind: Kind::Id },
        Column { name: "description", kind: Kind::Text },
        Column { name: "amount", kind: Kind::Decimal },
        Column { name: "timestamp", kind: Kind::Timestamp },
        Column { name: "merchant", kind: Kind::Text },
        Column { name: "operation_type", kind: Kind::Text },
        Column { name: "side", kind: Kind::Text },
    ];
    const RULES: &'static [&'static str] = quality::RULES;

    type Wire = Wire;
    type Record = Transaction;
    type Answer = String;
    type Stats = Stats;

    fn validate(wire: Wire, notation: Notation) -> Result<Transaction, Reason> {
        validate::validate(wire, notation)
    }

    fn judge(stats: &mut Stats, records: &[Transaction]) -> Vec<Vec<usize>> {
        quality::judge(stats, records)
    }

    fn tally_name(category: &String) -> Option<&str> {
        Some(category)
    }
}

impl Classified for Transactions {
    type Question<'a> = Question<'a>;

    fn id(record: &Transaction) -> Uuid {
        record.id
    }

    fn question(record: &Transaction) -> Question<'_> {
        Question {
            id: record.id,
            description: &record.description,
            amount: record.amount,
            timestamp: record.timestamp,
            merchant: record.merchant.as_deref(),
            operation_type: &record.operation_type,
            side: record.side,
        }
    }
}

/// A transaction as it was read: the exact text of each column. Its `Debug` shows no values.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Wire {
    /// A UUID or an integer.
    pub id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// A decimal number in the notation of its source, see [`Amount::parse`].
    pub amount: Option<String>,
    /// See [`crate::timestamp::parse`].
    pub timestamp: Option<String>,
    /// Free text.
    pub merchant: Option<String>,
    /// One of a known set, or any other text.
    pub operation_type: Option<String>,
    /// `debit` or `credit`.
    pub side: Option<String>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire { .. }")
    }
}

/// A valid transaction; only [`Flow::validate`] makes one. Its `Debug` shows no values.
#[derive(Clone)]
pub struct Transaction {
    id: Uuid,
    description: String,
    amount: Amount,
    timestamp: NaiveDateTime,
    merchant: Option<String>,
    operation_type: String,
    side: Side,
}

impl Transaction {
    /// The key of the table.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// As read; empty where it was missing.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Below zero for a debit, above zero for a credit.
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// To the microsecond; UTC where the text had an offset.
    pub const fn timestamp(&self) -> NaiveDateTime {
        self.timestamp
    }

    /// As read.
    pub fn merchant(&self) -> Option<&str> {
        self.merchant.as_deref()
    }

    /// As read; empty where it was missing.
    pub fn operation_type(&self) -> &str {
        &self.operation_type
    }

    /// Which way the money went.
    pub const fn side(&self) -> Side {
        self.side
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction { .. }")
    }
}

/// Which way the money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Out of the account.
    Debit,
    /// Into the account.
    Credit,
}

impl Side {
    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// What the model is shown of a transaction.
#[derive(Serialize)]
pub struct Question<'a> {
    id: Uuid,
    description: &'a str,
    amount: Amount,
    timestamp: NaiveDateTime,
    merchant: Option<&'a str>,
    operation_type: &'a str,
    side: Side,
}
