//! The transport conformance suite: one case for each thing that a
//! [`Transport`](runtime::transport::Transport) must do.
//!
//! A transport runs it with one line, which turns every case into a test:
//!
//! ```ignore
//! fn env(case: &str) -> Env { Env::new(transport(), case) }
//! headwater_testkit::transport_conformance!(env);
//! ```
//!
//! Cases use the transport only through its traits, and wait with deadlines, never for a fixed
//! time. So they work with a broker on a busy machine as well as with a log in memory. They fail by
//! panicking.

mod ends;
mod env;
mod process;
mod records;

mod fetching;
mod groups;
mod limits;
mod membership;
mod offsets;
mod producing;
mod reading;
mod topics;
mod transactions;
mod trimming;

pub use env::{Env, Maintain};

/// One thing that a transport must do.
#[derive(Clone, Copy, Debug)]
pub struct ConformanceCase {
    /// Its name: module and function.
    pub name: &'static str,
    /// Runs it; panics if the transport does not conform.
    pub run: fn(&Env),
}

/// The list of cases, handed to a macro of the form `callback!([args] module::case, …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_conformance_case {
    ([$($callback:tt)*] $args:tt) => {
        $($callback)* ! { $args
            topics::created_topic_is_described,
            topics::created_topic_accepts_any_timestamp_if_configured,
            topics::describing_an_unknown_topic_does_not_create_it,
            topics::creating_twice_is_an_error,
            topics::bad_configuration_is_refused,
            topics::invalid_topic_names_are_refused,
            topics::names_that_differ_only_in_dots_are_refused,
            topics::producing_to_an_unknown_topic_fails,
            topics::reading_an_unknown_topic_fails,
            producing::order_timestamps_and_offsets_are_kept,
            producing::headers_are_kept,
            producing::null_and_empty_differ,
            producing::keys_choose_partitions_as_the_java_client_does,
            producing::records_without_key_are_spread,
            producing::many_records_arrive_once_and_in_order,
            producing::last_offset_follows_tracked_partitions,
            fetching::begins_at_the_given_offset,
            fetching::begins_at_the_beginning,
            fetching::goes_on_with_new_records,
            fetching::rewinding_delivers_nothing_stale,
            fetching::pausing_loses_nothing,
            fetching::removed_partition_delivers_nothing,
            fetching::waker_ends_a_waiting_poll,
            ends::the_end_is_known_when_everything_was_delivered,
            ends::the_end_of_an_empty_partition_is_known,
            ends::the_end_is_after_markers_and_aborted_records,
            ends::the_end_is_where_an_open_transaction_begins,
            ends::the_end_is_unknown_again_after_a_rewind,
            ends::the_end_wakes_a_waiting_poll,
            transactions::invisible_until_committed,
            transactions::uncommitted_is_visible_to_read_uncommitted,
            transactions::aborted_is_never_visible,
            transactions::partitions_commit_together,
            transactions::markers_occupy_offsets,
            transactions::open_transaction_holds_back_later_records,
            transactions::newer_producer_fences_the_older,
            transactions::newer_producer_ends_the_transaction_of_the_older,
            transactions::goes_on_after_an_abort,
            transactions::left_open_is_aborted_in_time,
            offsets::commit_with_the_transaction,
            offsets::are_dropped_with_the_transaction,
            offsets::of_an_open_transaction_are_not_stable,
            offsets::stale_generation_is_refused,
            offsets::unknown_member_is_refused,
            offsets::commit_outside_transactions,
            offsets::metadata_that_is_too_long_is_refused,
            groups::each_partition_has_one_owner,
            groups::a_join_moves_only_what_must_move,
            groups::a_revoked_partition_waits_for_its_owner,
            groups::leaving_frees_partitions_at_once,
            groups::followers_are_fetched_and_committed,
            groups::two_topics_are_distributed,
            membership::static_member_takes_its_old_place,
            membership::silent_member_loses_its_partitions,
            membership::expired_member_cannot_commit,
            membership::metadata_needs_membership,
            reading::bounds_are_start_and_end,
            reading::reads_from_the_given_offset,
            reading::several_partitions_at_once,
            reading::position_passes_over_gaps,
            reading::waits_long_for_an_open_transaction,
            trimming::deleted_records_are_gone,
            trimming::compaction_keeps_the_last_of_each_key,
            trimming::compaction_leaves_open_transactions_alone,
            trimming::retention_deletes_old_records,
            limits::record_of_the_maximum_size_is_accepted,
            limits::record_of_exactly_the_limit_is_accepted,
            limits::record_of_exactly_the_limit_is_accepted_in_a_transaction,
            limits::records_that_fit_one_by_one_are_accepted_together,
            limits::timestamps_beyond_the_bounds_are_refused,
            limits::limits_are_described,
            limits::too_large_a_record_is_refused,
            limits::too_large_a_record_does_not_end_the_transactional_producer,
        }
    };
}

macro_rules! list {
    (() $($module:ident :: $case:ident),* $(,)?) => {
        vec![$(ConformanceCase {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: $module::$case,
        }),*]
    };
}

/// All cases.
pub fn cases() -> Vec<ConformanceCase> {
    __each_conformance_case!([list]())
}

/// Runs the case called `name`.
///
/// # Panics
///
/// If the transport does not conform, or if there is no such case.
pub fn run(name: &str, env: &Env) {
    let case = cases().into_iter().find(|case| case.name == name);
    match case {
        Some(case) => (case.run)(env),
        None => panic!("no conformance case is called {name}"),
    }
}

/// Turns each case of the suite into a `#[test]`. The argument is a function from the case's name
/// to its [`Env`], or to an `Option<Env>`. For `None` (no broker), the case passes without running,
/// and says so.
#[macro_export]
macro_rules! transport_conformance {
    ($env:path) => {
        $crate::__each_conformance_case! { [$crate::__conformance_tests] ($env) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($env:path) $($module:ident :: $case:ident),* $(,)?) => {$(
        #[test]
        fn $case() {
            let name = concat!(stringify!($module), "::", stringify!($case));
            match ::std::convert::Into::<::std::option::Option<_>>::into($env(name)) {
                ::std::option::Option::Some(env) => $crate::conformance::run(name, &env),
                ::std::option::Option::None => ::std::println!("skipped {name}: no transport"),
            }
        }
    )*};
}
