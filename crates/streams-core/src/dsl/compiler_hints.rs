//! Methods that exist only to improve compiler errors. An aggregation or a grouping lacks most
//! methods of a stream; these tell the user what to call first. Without them the compiler would
//! only say that the method does not exist.

use super::{Aggregated, Grouped, Stream, WindowAggregated};
use crate::chain::Chain;
use crate::table::Table;
use crate::window::{Windowed, Windows};

/// Never implemented for an aggregation: what it sends has to be chosen.
#[diagnostic::on_unimplemented(
    message = "an aggregation is not a stream yet: choose what it sends",
    label = "put `.updates()` in front of this: every change, a stream",
    note = "`.updates()` sends every change, `.latest()` the last one of each key and commit, and \
            `.into_table()` makes it a table, whose `filter` and `map_values` know deletions"
)]
pub trait Sends {}

/// Never implemented for a windowed aggregation: what it sends has to be chosen.
#[diagnostic::on_unimplemented(
    message = "a windowed aggregation is not a stream yet: choose what it sends",
    label = "put `.updates()` or `.closed()` in front of this",
    note = "`.closed()` sends each window once, when it is complete, `.updates()` every change of \
            it, and `.into_table()` makes it a table, for `suppress` and joins"
)]
pub trait WindowSends {}

/// Never implemented for a stream: its records have to be grouped before they are aggregated.
#[diagnostic::on_unimplemented(
    message = "records are aggregated by key: group the stream first",
    label = "put `.group_by_key()` or `.group_by(name, key)` in front of this",
    note = "`.group_by_key()` groups by the key that the records have, `.group_by(name, key)` by \
            another one, through the repartition topic of that name"
)]
pub trait IsGrouped {}

/// Never implemented for a grouping: it must be aggregated, and most operators come before the
/// grouping.
#[diagnostic::on_unimplemented(
    message = "grouped records can only be counted, reduced, aggregated or windowed",
    label = "do this before the records are grouped, or after the aggregation",
    note = "`.count(&table)`, `.reduce(&table, …)` and `.aggregate(&table, …)` are aggregations; \
            their `.updates()` is a stream again"
)]
pub trait IsStream {}

/// Methods of a stream, for types that contain a stream but are not one.
macro_rules! stream_methods {
    ($bound:ident, $key:ty, $value:ty, |$self:ident| $stream:expr) => {
        #[doc(hidden)]
        pub fn map_values<V2: 'static>(
            $self,
            map: impl Fn($value) -> V2 + Send + Sync + 'static,
        ) -> Stream<'b, $key, V2>
        where
            Self: $bound,
        {
            $stream.map_values(map).boxed()
        }

        #[doc(hidden)]
        pub fn map_values_with_key<V2: 'static>(
            $self,
            map: impl Fn(&$key, $value) -> V2 + Send + Sync + 'static,
        ) -> Stream<'b, $key, V2>
        where
            Self: $bound,
        {
            $stream.map_values_with_key(map).boxed()
        }

        #[doc(hidden)]
        pub fn map<K2: 'static, V2: 'static>(
            $self,
            map: impl Fn($key, $value) -> (K2, V2) + Send + Sync + 'static,
        ) -> Stream<'b, K2, V2>
        where
            Self: $bound,
        {
            $stream.map(map).boxed()
        }

        #[doc(hidden)]
        pub fn filter(
            $self,
            predicate: impl Fn(&$key, &$value) -> bool + Send + Sync + 'static,
        ) -> Stream<'b, $key, $value>
        where
            Self: $bound,
        {
            $stream.filter(predicate).boxed()
        }

        #[doc(hidden)]
        pub fn filter_not(
            $self,
            predicate: impl Fn(&$key, &$value) -> bool + Send + Sync + 'static,
        ) -> Stream<'b, $key, $value>
        where
            Self: $bound,
        {
            $stream.filter_not(predicate).boxed()
        }

        #[doc(hidden)]
        pub fn peek(
            $self,
            look: impl Fn(&$key, &$value) + Send + Sync + 'static,
        ) -> Stream<'b, $key, $value>
        where
            Self: $bound,
        {
            $stream.peek(look).boxed()
        }

        #[doc(hidden)]
        pub fn select_key<K2: 'static>(
            $self,
            select: impl Fn(&$key, &$value) -> K2 + Send + Sync + 'static,
        ) -> Stream<'b, K2, $value>
        where
            Self: $bound,
        {
            $stream.select_key(select).boxed()
        }
    };
}

impl<'b, K: 'static, A: 'static> Aggregated<'b, K, A> {
    stream_methods!(Sends, K, A, |self| self.updates());

    #[doc(hidden)]
    pub fn to_stream(self) -> Stream<'b, K, A>
    where
        Self: Sends,
    {
        self.updates()
    }
}

impl<'b, K: 'static, A: 'static, W: Windows> WindowAggregated<'b, K, A, W> {
    stream_methods!(WindowSends, Windowed<K>, A, |self| self.closed());

    #[doc(hidden)]
    pub fn to_stream(self) -> Stream<'b, Windowed<K>, A>
    where
        Self: WindowSends,
    {
        self.closed()
    }
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Grouped<'b, K, V, C> {
    stream_methods!(IsStream, K, V, |self| self.stream);
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    #[doc(hidden)]
    pub fn count(self, table: &Table<K, u64>) -> Aggregated<'b, K, u64>
    where
        Self: IsGrouped,
    {
        self.group_by_key().count(table)
    }

    #[doc(hidden)]
    pub fn reduce(
        self,
        table: &Table<K, V>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Aggregated<'b, K, V>
    where
        Self: IsGrouped,
    {
        self.group_by_key().reduce(table, combine)
    }

    #[doc(hidden)]
    pub fn aggregate<A: 'static>(
        self,
        table: &Table<K, A>,
        init: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Aggregated<'b, K, A>
    where
        Self: IsGrouped,
    {
        self.group_by_key().aggregate(table, init, add)
    }
}
