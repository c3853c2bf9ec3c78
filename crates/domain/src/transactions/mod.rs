//! Bank transactions: the first flow.

mod quality;
mod seen;
mod validate;

use std::{fmt, slice};

use bytestring::ByteString;
use chrono::NaiveDateTime;
use serde_json::Value as Json;
use uuid::Uuid;

use self::quality::Stats;
use crate::amount::Amount;
use crate::quality::Judged;
use crate::{
    AnswerField, Column, Decimal, Field, Fields, Flow, Incoming, Kind, ModelApi, Name, Reason,
    Record, Stage, Table, TableColumn, Type, UnknownStats, Value,
};

/// The flow of bank transactions.
#[derive(Clone, Debug)]
pub struct Transactions {
    table: Table,
    model: ModelApi,
}

/// The columns of the input, and so the order of a record's fields.
const COLUMNS: &[Column] = &[
    Column::new("id", Kind::Id),
    Column::new("description", Kind::Text),
    Column::new("amount", Kind::Decimal),
    Column::new("timestamp", Kind::Timestamp),
    Column::new("merchant", Kind::Text),
    Column::new("operation_type", Kind::Text),
    Column::new("side", Kind::Text),
];

/// The columns of the table, and so the order of a row's values.
mod place {
    pub(super) const ID: usize = 0;
    pub(super) const DESCRIPTION: usize = 1;
    pub(super) const AMOUNT: usize = 2;
    pub(super) const MERCHANT: usize = 4;
    pub(super) const OPERATION_TYPE: usize = 5;
}

impl Default for Transactions {
    fn default() -> Self {
        let text = |limit| Type::Text { limit: Some(limit) };
        let columns = vec![
            TableColumn::new("id", Type::Uuid),
            TableColumn::new("description", text(limit::DESCRIPTION)),
            TableColumn::new("amount", Type::Decimal { precision: 12, scale: 2 }),
            TableColumn::new("timestamp", Type::Timestamp),
            TableColumn::nullable("merchant", text(limit::DESCRIPTION)),
            TableColumn::new("operation_type", text(limit::OPERATION_TYPE)),
            TableColumn::new("side", text(limit::OPERATION_TYPE)),
            TableColumn::answered("category", text(limit::CATEGORY), 0),
        ];
        let category = AnswerField { name: "category".into(), kind: text(limit::CATEGORY) };
        Self {
            table: Table::keyed(Self::NAME, &[place::ID], columns),
            model: ModelApi {
                path: "predict".into(),
                table: 0,
                request: (0..COLUMNS.len()).collect(),
                id: place::ID,
                answer_id: "transaction_id".into(),
                answers: vec![category],
            },
        }
    }
}

/// The most characters of texts.
mod limit {
    pub(super) const DESCRIPTION: usize = 1024;
    pub(super) const OPERATION_TYPE: usize = 64;
    pub(super) const CATEGORY: usize = 64;
}

impl Transactions {
    /// The flow's name.
    pub const NAME: &'static str = "transactions";
}

impl Flow for Transactions {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn model(&self) -> Option<&ModelApi> {
        Some(&self.model)
    }

    fn rules(&self) -> &[Name] {
        quality::RULES
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        if incoming.is_tombstone() {
            return Err(Reason::new(Stage::Decode, "tombstone", "the record has no value"));
        }
        let notation = incoming.notation;
        validate::validate(Wire::of(incoming.fields), notation).map(Transaction::into_record)
    }

    fn judge(&self, stats: &mut Json, judged: Judged<'_>) -> Result<Vec<Vec<usize>>, UnknownStats> {
        let unknown = |error: serde_json::Error| UnknownStats(error.to_string());
        let mut learned = match stats.take() {
            Json::Null => Stats::default(),
            stored => serde_json::from_value(stored).map_err(unknown)?,
        };
        let broken = quality::judge(&mut learned, judged);
        *stats = serde_json::to_value(learned).map_err(unknown)?;
        Ok(broken)
    }
}

/// A transaction as it was read. Its `Debug` shows no values.
#[derive(Clone, Default)]
struct Wire {
    /// A UUID or an integer.
    id: Field,
    /// Free text.
    description: Option<ByteString>,
    /// A decimal number in the notation of its source, see [`Amount::parse`].
    amount: Field,
    /// See [`crate::timestamp::parse`].
    timestamp: Field,
    /// Free text.
    merchant: Option<ByteString>,
    /// One of a known set, or any other text.
    operation_type: Option<ByteString>,
    /// `debit` or `credit`.
    side: Option<ByteString>,
}

impl Wire {
    /// The `fields`, which are in the order of the flow's columns.
    fn of(fields: Fields) -> Self {
        let mut fields = fields.into_iter();
        let mut next = || fields.next().unwrap_or_default();
        Self {
            id: next(),
            description: next().into_text(),
            amount: next(),
            timestamp: next(),
            merchant: next().into_text(),
            operation_type: next().into_text(),
            side: next().into_text(),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire { .. }")
    }
}

/// A valid transaction.
#[derive(Clone)]
struct Transaction {
    id: Uuid,
    /// As read; empty where it was missing.
    description: ByteString,
    /// Below zero for a debit, above zero for a credit.
    amount: Amount,
    /// To the microsecond; UTC where the text had an offset.
    timestamp: NaiveDateTime,
    merchant: Option<ByteString>,
    /// As read; empty where it was missing.
    operation_type: ByteString,
    side: Side,
}

impl Transaction {
    /// The row of the table, without the category.
    fn into_record(self) -> Record {
        let amount = Decimal { unscaled: self.amount.cents(), scale: 2 };
        let values = vec![
            Value::Uuid(self.id),
            Value::Text(self.description),
            Value::Decimal(amount),
            Value::Timestamp(self.timestamp),
            Value::text(self.merchant),
            Value::Text(self.operation_type),
            Value::Text(ByteString::from_static(self.side.as_str())),
            Value::Null,
        ];
        Record::upsert(0, values)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction { .. }")
    }
}

/// Which way the money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Debit,
    Credit,
}

impl Side {
    /// The text in the table.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}
