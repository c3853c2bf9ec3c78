//! The tables that the contract looks into.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Index;

/// A table's columns, as far as they can be compared.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// Columns whose text says all.
    pub texts: &'static [&'static str],
    /// Columns that hold bytes: read as lower-case hexadecimal.
    pub bytes: &'static [&'static str],
    /// The columns by which rows are ordered.
    pub order: &'static [&'static str],
}

/// The transactions.
pub const TRANSACTIONS: Table = Table {
    name: "transactions",
    texts: &[
        "id",
        "description",
        "amount",
        "timestamp",
        "merchant",
        "operation_type",
        "side",
        "category",
        "origin",
        "position",
    ],
    bytes: &[],
    order: &["id"],
};

/// The visits.
pub const VISITS: Table = Table {
    name: "visits",
    texts: &["flow", "stream", "partition", "log", "position", "n", "who", "page", "at"],
    bytes: &[],
    order: &["flow", "stream", "partition", "log", "position", "n"],
};

/// The accounts.
pub const ACCOUNTS: Table = Table {
    name: "accounts",
    texts: &["id", "name", "balance", "deleted_at", "origin", "position"],
    bytes: &[],
    order: &["id"],
};

/// The prices.
pub const PRICES: Table = Table {
    name: "prices",
    texts: &["item", "updated_at", "price", "deleted_at", "origin", "position"],
    bytes: &[],
    order: &["item"],
};

/// The happenings.
pub const HAPPENINGS: Table = Table {
    name: "happenings",
    texts: &[
        "flow",
        "stream",
        "partition",
        "log",
        "position",
        "n",
        "what",
        "details",
        "at",
        "was_seen",
        "by",
    ],
    bytes: &[],
    order: &["flow", "stream", "partition", "log", "position", "n"],
};

/// The totals.
pub const TOTALS: Table =
    Table { name: "totals", texts: &["day", "count", "amount"], bytes: &[], order: &["day"] };

/// The positions.
pub const POSITIONS: Table = Table {
    name: "positions",
    texts: &[
        "id",
        "flow",
        "stream",
        "partition",
        "pass",
        "log",
        "label",
        "next",
        "cursor",
        "stats",
        "epoch",
        "outbox_next",
        "owner",
        "lease_until",
        "ended_at",
        "rejected_at",
        "updated_at",
    ],
    bytes: &[],
    order: &["id"],
};

/// The ledger.
pub const BATCHES: Table = Table {
    name: "batches",
    texts: &[
        "id",
        "flow",
        "stream",
        "partition",
        "pass",
        "first",
        "last",
        "read",
        "written",
        "superseded",
        "skipped",
        "dead_lettered",
        "quality",
        "gap",
        "passed",
        "detail",
        "started_at",
        "committed_at",
        "worker",
    ],
    bytes: &[],
    order: &["flow", "stream", "partition", "pass", "first"],
};

/// The dead letters.
pub const DEAD_LETTERS: Table = Table {
    name: "dead_letters",
    texts: &[
        "id",
        "flow",
        "stream",
        "partition",
        "pass",
        "position",
        "attempt",
        "batch_id",
        "headers",
        "stage",
        "code",
        "message",
        "state",
        "outdated_by",
        "failed_at",
        "published_at",
    ],
    bytes: &["key", "payload"],
    order: &["flow", "stream", "partition", "pass", "position", "attempt"],
};

/// The records to publish.
pub const OUTBOX: Table = Table {
    name: "outbox",
    texts: &["flow", "stream", "partition", "number", "topic", "headers"],
    bytes: &["key", "value"],
    order: &["flow", "stream", "partition", "number"],
};

/// The workers.
pub const WORKERS: Table = Table {
    name: "workers",
    texts: &["id", "flow", "stream", "host", "pid", "seen_until"],
    bytes: &[],
    order: &["id"],
};

/// The acts.
pub const ACTS: Table = Table {
    name: "acts",
    texts: &["id", "at", "who", "verb", "flow", "target", "reason", "result"],
    bytes: &[],
    order: &["at", "id"],
};

impl Table {
    /// Its columns, in the order of [`Table::select`].
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.texts.iter().chain(self.bytes).copied()
    }

    /// A query for all rows with every column as text; `{hex}` writes bytes, for instance `encode({}, 'hex')`.
    pub fn select(&self, hex: impl Fn(&str) -> String) -> String {
        let texts = self.texts.iter().map(|name| format!(r#"cast("{name}" as text)"#));
        let bytes = self.bytes.iter().map(|name| hex(&format!(r#""{name}""#)));
        let mut sql = String::from("select ");
        for (column, name) in texts.chain(bytes).zip(self.columns()) {
            let comma = if sql.len() > 7 { ", " } else { "" };
            write!(sql, r#"{comma}{column} as "{name}""#).expect("a string takes all");
        }
        // The columns themselves, not the texts made of them, which are called the same.
        let order: Vec<_> =
            self.order.iter().map(|column| format!("{}.{column}", self.name)).collect();
        format!("{sql} from {} order by {}", self.name, order.join(", "))
    }

    /// A row of this table from its values in the order of [`Table::columns`].
    pub fn record(&self, values: impl IntoIterator<Item = Option<String>>) -> Record {
        self.columns().map(str::to_owned).zip(values).collect()
    }
}

/// A row as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    values: BTreeMap<String, Option<String>>,
}

impl Record {
    /// The text of a column; `None` where it is null.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.values.get(column).unwrap_or_else(|| panic!("no column {column}")).as_deref()
    }

    /// Whether its table has the column.
    pub fn has(&self, column: &str) -> bool {
        self.values.contains_key(column)
    }

    /// The number in a column.
    pub fn number(&self, column: &str) -> i64 {
        self[column].parse().unwrap_or_else(|_| panic!("{column} holds no integer"))
    }

    /// The bytes in a column.
    pub fn bytes(&self, column: &str) -> Option<Vec<u8>> {
        let digits = self.get(column)?;
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
        Some((0..digits.len()).step_by(2).map(byte).collect())
    }

    /// The JSON in a column.
    pub fn json(&self, column: &str) -> serde_json::Value {
        serde_json::from_str(&self[column]).expect("JSON")
    }
}

impl FromIterator<(String, Option<String>)> for Record {
    fn from_iter<T: IntoIterator<Item = (String, Option<String>)>>(values: T) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

/// The text of a column that is not null.
impl Index<&str> for Record {
    type Output = str;

    fn index(&self, column: &str) -> &str {
        self.get(column).unwrap_or_else(|| panic!("{column} is null"))
    }
}
