//! What every store must pass: one function per guarantee, each for a store that is still empty.
//!
//! A test implements [`Store`] for its store and calls [`store_contract!`](crate::store_contract), which makes one
//! test of each function.

mod appends;
mod claims;
mod commits;
mod fences;
mod finishes;
mod refusals;
mod table;

use std::future::Future;

pub use appends::*;
pub use claims::*;
pub use commits::*;
pub use fences::*;
pub use finishes::*;
pub use refusals::*;
pub use table::{BATCHES, DEAD_LETTERS, POSITIONS, Record, TRANSACTIONS, Table, VISITS};
use tally_domain::transactions::Transactions;
use tally_ports::{Positions, Sink};

use crate::visits::Visits;

/// A store of its own for one test, which can look inside past the ports.
pub trait Store: Send + Sync {
    /// What the contract is about.
    type Sink: Sink<Transactions> + Sink<Visits> + Positions;

    /// Opens the store once more, as another process would.
    fn open(&self) -> impl Future<Output = Self::Sink> + Send;

    /// All rows of `table`, in its order, each value as text ([`Table::select`] helps where there is SQL).
    fn read(&self, table: &'static Table) -> impl Future<Output = Vec<Record>> + Send;

    /// From now on the database itself refuses transactions with an amount above `limit`.
    fn refuse_amounts_above(&self, limit: i64) -> impl Future<Output = ()> + Send;

    /// The code that such a refusal has.
    fn refusal_code(&self) -> &'static str;
}

/// Makes one `#[tokio::test]` of each function of the contract; `$store` is an expression, awaited for each test,
/// that makes a [`Store`] of its own.
#[macro_export]
macro_rules! store_contract {
    ($store:expr) => {
        $crate::store_contract! { $store;
            a_first_claim_starts_at_zero
            a_live_lease_of_somebody_else_is_not_taken
            an_expired_lease_is_taken_over
            every_claim_raises_the_epoch
            a_renewed_lease_lives_on
            a_released_lease_is_free_at_once
            a_lost_lease_can_be_neither_renewed_nor_released
            of_many_claims_at_once_one_wins
            a_claim_goes_on_where_the_last_commit_ended
            a_finished_pass_is_not_claimed_again
            a_second_pass_starts_anew
            finishing_is_fenced
            a_commit_writes_all_of_a_batch
            a_commit_renews_the_lease
            an_empty_batch_moves_the_position
            the_same_batch_twice_changes_nothing
            cursor_and_statistics_come_back_exactly
            a_later_batch_replaces_the_rows_of_its_keys
            an_earlier_epoch_writes_nothing
            a_batch_from_elsewhere_writes_nothing
            of_two_commits_at_once_one_succeeds
            a_commit_without_its_caller_can_be_repeated
            the_last_of_a_key_wins
            an_earlier_row_takes_the_place_of_a_refused_one
            refused_rows_become_dead_letters
            dead_letters_come_back_byte_for_byte
            appended_rows_are_not_doubled
            appended_rows_can_be_refused
        }
    };
    ($store:expr; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = $store.await;
                $crate::contract::$name(&store).await;
            }
        )*
    };
}
