//! What every store must pass: one function per guarantee, each for a store that is still empty.
//!
//! A test implements [`Store`] for its store and calls [`store_contract!`](crate::store_contract), which makes one
//! test of each function; and also [`server_contract!`](crate::server_contract) where many processes may work
//! together, else [`single_contract!`](crate::single_contract); and [`replay_contract!`](crate::replay_contract) where
//! dead letters can be listed, changed and replayed.

mod appends;
mod begins;
mod claims;
mod commits;
mod counters;
mod dead_letters;
mod fences;
mod filters;
mod finishes;
mod joins;
mod outbox;
mod outdates;
mod refusals;
mod relays;
mod replay_races;
mod replays;
mod sets;
mod table;
mod versions;
mod writes;

use std::future::Future;

pub use appends::*;
pub use begins::*;
pub use claims::*;
pub use commits::*;
pub use counters::*;
pub use dead_letters::*;
pub use fences::*;
pub use filters::*;
pub use finishes::*;
pub use joins::*;
pub use outbox::*;
pub use outdates::*;
pub use refusals::*;
pub use relays::*;
pub use replay_races::*;
pub use replays::*;
pub use sets::*;
pub use table::{
    ACCOUNTS, ACTS, BATCHES, DEAD_LETTERS, HAPPENINGS, OUTBOX, POSITIONS, PRICES, Record, TOTALS,
    TRANSACTIONS, Table, VISITS, WORKERS,
};
use tally_ports::{Counters, DeadLetterRelay, Outbox, PositionAdmin, Positions, Sink, Workers};
pub use versions::*;
pub use writes::*;

/// A test's own store, which the test can inspect past the ports.
pub trait Store: Send + Sync {
    /// The store under test.
    type Sink: Sink + Positions + Workers + PositionAdmin + Outbox + DeadLetterRelay + Counters;

    /// Opens the store once more, as another process would.
    fn open(&self) -> impl Future<Output = Self::Sink> + Send;

    /// All rows of `table`, in its order, each value as text ([`Table::select`] helps where there is SQL).
    fn read(&self, table: &'static Table) -> impl Future<Output = Vec<Record>> + Send;

    /// Purges the dead letters of a position.
    fn purge(&self, position: i64) -> impl Future<Output = ()> + Send;

    /// From now on the database itself refuses transactions with an amount above `limit`.
    fn refuse_amounts_above(&self, limit: i64) -> impl Future<Output = ()> + Send;

    /// The topics of all passes in progress are recreated and that is accepted: another log, whose positions begin again.
    fn restart_logs(&self) -> impl Future<Output = ()> + Send;

    /// Turns the store's clock back a day: leases and heartbeats then lie a day further ahead.
    fn turn_clock_back_a_day(&self) -> impl Future<Output = ()> + Send;

    /// The code of such a refusal.
    fn refusal_code(&self) -> &'static str;

    /// The name of the constraint of such a refusal.
    fn refusing_constraint(&self) -> Option<&'static str> {
        None
    }
}

/// As [`store_contract!`](crate::store_contract), for a store that several processes share.
#[macro_export]
macro_rules! server_contract {
    ($store:expr) => {
        $crate::store_contract! { $store;
            workers_count_each_other
            workers_of_other_streams_do_not_count
            a_dead_worker_no_longer_counts
            a_worker_of_a_clock_that_was_ahead_no_longer_counts
            two_relays_at_once_hand_out_different_ones
        }
    };
}

/// As [`store_contract!`](crate::store_contract), for a store that serves one worker.
#[macro_export]
macro_rules! single_contract {
    ($store:expr) => {
        $crate::store_contract! { $store;
            a_second_worker_is_kept_out
            a_worker_of_another_stream_is_kept_out
            a_dead_worker_is_replaced
            a_worker_of_a_clock_that_was_ahead_is_replaced
        }
    };
}

/// As [`store_contract!`](crate::store_contract), for a store whose dead letters can be listed, changed and replayed.
#[macro_export]
macro_rules! replay_contract {
    ($store:expr) => {
        $crate::store_contract! { $store;
            filters_choose_dead_letters
            moments_choose_dead_letters_exactly
            pages_list_each_dead_letter_once
            dead_letters_are_fetched_whole
            dead_letters_are_counted_by_hour_and_code
            open_dead_letters_are_discarded
            purging_blanks_the_record
            a_purged_dead_letter_is_not_replayed
            a_list_shows_the_start_of_a_key
            a_replayed_row_is_written_once
            a_replay_never_overwrites_anything_newer
            a_replay_overwrites_what_is_older
            a_replay_of_two_writes_under_one_key_keeps_the_last
            a_record_that_fails_again_is_the_next_attempt
            of_a_record_that_fails_again_no_more_is_kept_than_said
            a_row_that_the_database_refuses_has_failed_again
            trying_a_replay_changes_nothing
            a_dead_letter_that_is_not_there_is_not_replayed
            of_two_replays_at_once_one_succeeds
            a_replay_without_its_caller_can_be_repeated
            a_replay_beside_commits_never_wins_over_a_later_record
            appended_rows_are_replayed_once
            a_replay_of_a_position_overwrites_what_is_older
            a_replay_of_a_version_overwrites_what_is_older
            a_replay_appends_its_rows
            a_replay_counts_once
            a_re_read_keeps_what_was_decided
            a_replay_publishes_once
            a_replay_of_an_ended_pass_is_relayed
            a_replay_leaves_to_a_later_pass_what_that_may_have_published
            a_repaired_record_goes_into_the_outbox
            a_record_that_an_earlier_pass_has_counted_is_not_repaired
        }
    };
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
            a_lease_of_a_clock_that_was_ahead_ends_after_its_length
            a_lease_of_a_clock_that_was_ahead_can_be_renewed
            a_lease_of_a_clock_that_was_ahead_is_spared_for_its_length
            a_released_lease_is_free_at_once
            a_lost_lease_can_be_neither_renewed_nor_released
            of_many_claims_at_once_one_wins
            a_claim_goes_on_where_the_last_commit_ended
            a_first_claim_begins_where_it_is_told
            only_a_new_stream_is_begun
            of_two_beginnings_at_once_one_row_is_left
            a_finished_pass_is_not_claimed_again
            a_second_pass_starts_anew
            finishing_is_fenced
            a_pass_of_too_many_dead_letters_is_rejected
            a_pass_is_judged_whole
            a_rejected_pass_is_followed_by_another_when_asked
            the_first_verdict_on_a_pass_stays
            a_range_that_was_set_does_not_count
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
            a_batch_is_not_committed_when_too_many_rows_are_refused
            dead_letters_come_back_byte_for_byte
            each_dead_letter_has_its_own_headers
            appended_rows_are_not_doubled
            appended_rows_can_be_refused
            the_newest_position_wins_whichever_pass_wrote_it
            a_position_of_a_later_log_is_newer
            across_partitions_the_later_write_wins
            the_greater_version_wins
            a_deleted_row_is_not_resurrected
            a_delete_of_nothing_leaves_a_mark
            all_kinds_of_values_are_stored
            a_reading_again_leaves_exactly_its_own_rows
            counters_add_up
            a_re_read_counts_nothing_twice
            the_greatest_counters_come_first
            counters_of_hours_are_in_utc
            records_to_publish_are_numbered_through_all_passes
            a_re_read_publishes_nothing_twice
            an_outbox_is_handed_out_in_order
            a_former_owner_relays_nothing
            a_pass_ends_with_an_empty_outbox
            an_outbox_without_an_owner_is_claimed
            what_was_published_directly_is_known
            a_later_file_outdates_the_dead_letters_of_its_keys
            a_topic_outdates_no_dead_letter_by_its_key
            appended_rows_outdate_no_dead_letter_by_their_keys
            a_later_pass_outdates_the_dead_letters_of_its_positions
            the_writes_of_a_record_stand_or_fall_together
            a_record_is_superseded_when_nothing_of_it_was_written
            a_record_without_writes_is_skipped
            a_write_that_is_not_described_stops
            a_worker_that_joins_is_noted_until_it_leaves
            a_worker_that_joins_is_told_where_partitions_stand
            a_worker_that_joins_claims_what_a_clock_that_was_ahead_holds
            setting_forward_passes_a_range
            a_recreated_topic_raises_the_log
            setting_back_begins_another_pass
            a_partition_never_read_is_set_by_its_first_pass
            a_position_that_has_moved_since_it_was_seen_is_not_set
            without_a_lease_a_live_one_is_spared
            setting_with_its_lease_gives_it_back
            setting_with_a_lost_lease_changes_nothing
            a_late_commit_after_setting_is_refused
            a_position_that_cannot_be_is_a_wrong_setting
            a_claim_beside_a_set_never_owns_an_earlier_pass
            dead_letters_are_relayed_once_and_whole
            dead_letters_of_other_flows_are_not_relayed
            what_was_not_published_is_relayed_again
            purged_dead_letters_are_not_relayed
            no_more_than_4_mib_are_relayed_at_once
            nothing_waits_for_a_relay
            a_relay_without_its_caller_is_repeated
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
