//! The contract of stores, on a real Postgres.

use tally_adapter_postgres::{Postgres, Settings};
use tally_harness::postgres::TestDatabase;
use tally_testkit::accounts::Accounts;
use tally_testkit::alerts::Alerts;
use tally_testkit::clock::POSTGRES_TURNED_BACK_A_DAY;
use tally_testkit::contract::{Record, Store, Table};
use tally_testkit::visits::Visits;
use tally_testkit::{replay_contract, server_contract, store_contract};

struct Database(TestDatabase);

impl Database {
    async fn create() -> Self {
        Self(TestDatabase::create().await)
    }
}

impl Store for Database {
    type Sink = Postgres;

    async fn open(&self) -> Postgres {
        let known = [Visits::known(), Accounts::known(), Alerts::known()];
        let flows: Vec<_> = tally_flows::all().into_iter().chain(known).collect();
        Postgres::open(&Settings::new(self.0.url()), &flows).await.unwrap()
    }

    async fn read(&self, table: &'static Table) -> Vec<Record> {
        let sql = table.select(|column| format!("encode({column}, 'hex')"));
        self.0.query_text(&sql).await.into_iter().map(|row| table.record(row)).collect()
    }

    async fn purge(&self, position: i64) {
        let sql = format!("update dead_letters set state = 'purged' where position = {position}");
        self.0.execute(&sql).await;
    }

    async fn refuse_amounts_above(&self, limit: i64) {
        self.open().await;
        self.0.execute(&format!("alter table transactions add check (amount <= {limit})")).await;
    }

    async fn restart_logs(&self) {
        self.0.execute("update positions set log = log + 1 where ended_at is null").await;
    }

    async fn turn_clock_back_a_day(&self) {
        self.0.execute(POSTGRES_TURNED_BACK_A_DAY).await;
    }

    fn refusal_code(&self) -> &'static str {
        "23514"
    }

    fn refusing_constraint(&self) -> Option<&'static str> {
        Some("transactions_amount_check")
    }
}

store_contract!(Database::create());
server_contract!(Database::create());
replay_contract!(Database::create());
