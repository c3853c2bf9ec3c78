//! A flow for tests: it has every kind of write, and each record says which.

use std::sync::Arc;

use chrono::NaiveDateTime;
use tally_domain::{
    Action, Column, Decimal, Flow, Incoming, Output, Raw, Reason, Record, Stage, Table,
    TableColumn, TableKind, Type, Value, Version, Write, timestamp,
};
use tally_ports::{KnownFlow, Migrations, Row};

/// The flow of accounts.
#[derive(Clone, Debug)]
pub struct Accounts {
    tables: Vec<Table>,
}

/// The indices of the tables.
mod table {
    pub(super) const ACCOUNTS: usize = 0;
    pub(super) const PRICES: usize = 1;
    pub(super) const HAPPENINGS: usize = 2;
    pub(super) const TOTALS: usize = 3;
}

/// The table of votes by choice.
pub(crate) const VOTES: usize = 4;
/// The table of votes by hour.
pub(crate) const VOTES_BY_HOUR: usize = 5;

const OUTPUTS: &[Output] = &[Output::new("changes", "account-changes")];

const MONEY: Type = Type::Decimal { precision: 10, scale: 2 };

impl Default for Accounts {
    fn default() -> Self {
        let text = Type::Text { limit: None };
        let marked = |version| TableKind::Keyed { key: vec![0], version, marks_deletes: true };
        let table = |name: &'static str, kind, columns| Table { name: name.into(), columns, kind };
        let accounts = vec![
            TableColumn::new("id", Type::Integer),
            TableColumn::new("name", text),
            TableColumn::nullable("balance", MONEY),
        ];
        let prices = vec![
            TableColumn::new("item", text),
            TableColumn::new("updated_at", Type::Timestamp),
            TableColumn::new("price", MONEY),
        ];
        let happenings = vec![
            TableColumn::new("what", text),
            TableColumn::nullable("details", Type::Json),
            TableColumn::nullable("at", Type::Instant),
            TableColumn::nullable("was_seen", Type::Boolean),
            TableColumn::nullable("by", Type::Uuid),
        ];
        let totals = vec![
            TableColumn::new("day", text),
            TableColumn::new("count", Type::Integer),
            TableColumn::new("amount", MONEY),
        ];
        let votes =
            vec![TableColumn::new("votes", Type::Integer), TableColumn::new("choice", text)];
        let votes_by_hour =
            vec![TableColumn::new("hour", Type::Instant), TableColumn::new("votes", Type::Integer)];
        Self {
            tables: vec![
                table("accounts", marked(Version::Position), accounts),
                table("prices", marked(Version::Columns(vec![1])), prices),
                table("happenings", TableKind::Appended, happenings),
                table("totals", TableKind::Counters { key: vec![0] }, totals),
                table("votes", TableKind::Counters { key: vec![1] }, votes),
                table("votes_by_hour", TableKind::Counters { key: vec![0] }, votes_by_hour),
            ],
        }
    }
}

impl Accounts {
    /// The flow's name.
    pub const NAME: &'static str = "accounts";

    /// The flow with its tables; nothing unnamed happens.
    pub fn known() -> KnownFlow {
        KnownFlow {
            flow: Arc::new(Self::default()),
            postgres: Migrations { name: Self::NAME, scripts: &[POSTGRES] },
            sqlite: Migrations { name: Self::NAME, scripts: &[SQLITE] },
            avro: None,
            generator: None,
        }
    }
}

const POSTGRES: &str = "
    create table accounts (
        id bigint primary key, name text, balance numeric(10, 2), deleted_at timestamptz, origin bigint not null,
        position bigint not null, check (name is not null or deleted_at is not null)
    );
    create table prices (
        item text primary key, updated_at timestamp not null, price numeric(10, 2), deleted_at timestamptz,
        origin bigint not null, position bigint not null, check (price is not null or deleted_at is not null)
    );
    create table happenings (
        flow text not null, stream text not null, partition integer not null, log bigint not null,
        position bigint not null, n integer not null, what text not null check (what <> ''), details jsonb,
        at timestamptz, was_seen boolean, by uuid, primary key (flow, stream, partition, log, position, n)
    );
    create table totals (day text primary key, count bigint not null, amount numeric(10, 2) not null);
    create table votes (votes bigint not null, choice text collate \"und-x-icu\" primary key);
    create table votes_by_hour (hour timestamptz primary key, votes bigint not null)";

const SQLITE: &str = "
    create table accounts (
        id integer not null primary key, name text, balance text, deleted_at text, origin integer not null,
        position integer not null, check (name is not null or deleted_at is not null)
    ) strict;
    create table prices (
        item text not null primary key, updated_at text not null, price text, deleted_at text,
        origin integer not null, position integer not null, check (price is not null or deleted_at is not null)
    ) strict;
    create table happenings (
        flow text not null, stream text not null, partition integer not null, log integer not null,
        position integer not null, n integer not null, what text not null check (what <> ''), details text,
        at text, was_seen integer, \"by\" text, primary key (flow, stream, partition, log, position, n)
    ) strict;
    create table totals (day text not null primary key, count integer not null, amount text not null) strict;
    create table votes (votes integer not null, choice text not null primary key) strict;
    create table votes_by_hour (hour text not null primary key, votes integer not null) strict";

impl Flow for Accounts {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn columns(&self) -> &[Column] {
        &[]
    }

    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn outputs(&self) -> &[Output] {
        OUTPUTS
    }

    fn read(&self, _: Incoming<'_>) -> Result<Record, Reason> {
        Err(Reason::new(Stage::Validate, "none", "no source has accounts"))
    }
}

/// A row of a record with these writes.
pub fn record(position: i64, writes: impl IntoIterator<Item = Write>) -> Row {
    let record = Record { writes: writes.into_iter().collect(), ..Record::default() };
    Row { position, record, raw: Raw::default() }
}

/// The account is called this.
pub fn account(id: i64, name: &str) -> Write {
    let balance = Value::Decimal(Decimal { unscaled: -5, scale: 2 });
    let values = vec![Value::Integer(id), Value::Text(name.into()), balance];
    Write { table: table::ACCOUNTS, action: Action::Upsert, values }
}

/// The account is gone.
pub fn no_account(id: i64) -> Write {
    let values = vec![Value::Integer(id), Value::Null, Value::Null];
    Write { table: table::ACCOUNTS, action: Action::Delete, values }
}

/// What an item costs, since a time of the day.
pub fn price(item: &str, since: &str, cents: i64) -> Write {
    let price = Value::Decimal(Decimal { unscaled: cents, scale: 2 });
    let values = vec![Value::Text(item.into()), Value::Timestamp(time(since)), price];
    Write { table: table::PRICES, action: Action::Upsert, values }
}

/// Since a time of the day an item is not sold.
pub fn no_price(item: &str, since: &str) -> Write {
    let values = vec![Value::Text(item.into()), Value::Timestamp(time(since)), Value::Null];
    Write { table: table::PRICES, action: Action::Delete, values }
}

/// Something happened.
pub fn happening(what: &str) -> Write {
    happening_with(what, [Value::Null, Value::Null, Value::Null, Value::Null])
}

/// Something happened, of which details, moment, whether it was seen, and by whom, are known.
pub fn happening_with(what: &str, [details, at, was_seen, by]: [Value; 4]) -> Write {
    let values = vec![Value::Text(what.into()), details, at, was_seen, by];
    Write { table: table::HAPPENINGS, action: Action::Append, values }
}

/// One more, and so many cents more, on a day.
pub fn total(day: &str, cents: i64) -> Write {
    let amount = Value::Decimal(Decimal { unscaled: cents, scale: 2 });
    let values = vec![Value::Text(day.into()), Value::Integer(1), amount];
    Write { table: table::TOTALS, action: Action::Add, values }
}

/// So many more votes for a choice.
pub(crate) fn vote(choice: &str, votes: i64) -> Write {
    let values = vec![Value::Integer(votes), Value::Text(choice.into())];
    Write { table: VOTES, action: Action::Add, values }
}

/// One more vote in an hour.
pub(crate) fn vote_in_hour(hour: Value) -> Write {
    let values = vec![hour, Value::Integer(1)];
    Write { table: VOTES_BY_HOUR, action: Action::Add, values }
}

fn time(of_day: &str) -> NaiveDateTime {
    timestamp::parse(&format!("2024-01-15 {of_day}")).expect("a time of the day")
}
