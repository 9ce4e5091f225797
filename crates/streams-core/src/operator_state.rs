//! The state that operators keep between records, each of a type of its own.
//!
//! It follows from the tables and the stream times: which windows are open, what waits first, how
//! large a buffer is. So it is not committed. When a task starts, each state is its type's default,
//! and the operator finds out again what it has to know.
//!
//! If a record fails, its operators' states are as they were before it. Only the states that the
//! record has changed are saved for that.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// What an operator keeps between records. The default is what it knows when the task starts.
pub(crate) trait OperatorState: Clone + Default + Send + 'static {}

/// The number of an operator's state in the topology. The builder hands it out.
pub(crate) struct StateIndex<S> {
    number: usize,
    of: PhantomData<fn() -> S>,
}

impl<S> Clone for StateIndex<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for StateIndex<S> {}

impl<S> PartialEq for StateIndex<S> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// The types of the states of a topology's operators, in the order of their numbers.
#[derive(Default)]
pub(crate) struct StateTypes(Vec<fn() -> Box<dyn AnySlot>>);

impl StateTypes {
    /// Adds the state of one operator.
    pub(crate) fn add<S: OperatorState>(&mut self) -> StateIndex<S> {
        self.0.push(|| Box::new(Slot::<S>::default()));
        StateIndex { number: self.0.len() - 1, of: PhantomData }
    }
}

/// The states of a task's operators.
pub(crate) struct OperatorStates {
    slots: Box<[Box<dyn AnySlot>]>,
    /// How many records there were that might have to be undone.
    undoable: u64,
    /// The number of the current record among those; 0 if it is none of them.
    record: u64,
}

impl OperatorStates {
    pub(crate) fn new(types: &StateTypes) -> Self {
        let slots = types.0.iter().map(|new| new()).collect();
        Self { slots, undoable: 0, record: 0 }
    }

    #[inline]
    pub(crate) fn begin_record(&mut self, undoable: bool) {
        self.record = 0;
        if undoable {
            self.undoable += 1;
            self.record = self.undoable;
        }
    }

    /// Undoes what the current record has changed.
    pub(crate) fn undo_record(&mut self) {
        let record = std::mem::take(&mut self.record);
        self.slots.iter_mut().for_each(|slot| slot.undo(record));
    }
}

impl<S: OperatorState> Index<StateIndex<S>> for OperatorStates {
    type Output = S;

    #[inline]
    #[expect(clippy::expect_used, reason = "indexes have the types of their states")]
    fn index(&self, index: StateIndex<S>) -> &S {
        let slot: &dyn Any = &*self.slots[index.number];
        &slot.downcast_ref::<Slot<S>>().expect("the builder has made both").now
    }
}

/// Access for a change saves the state first, if the record may have to be undone.
impl<S: OperatorState> IndexMut<StateIndex<S>> for OperatorStates {
    #[inline]
    #[expect(clippy::expect_used, reason = "indexes have the types of their states")]
    fn index_mut(&mut self, index: StateIndex<S>) -> &mut S {
        let slot: &mut dyn Any = &mut *self.slots[index.number];
        let slot = slot.downcast_mut::<Slot<S>>().expect("the builder has made both");
        if slot.changed_by < self.record {
            slot.save(self.record);
        }
        &mut slot.now
    }
}

/// A state, and what it was before the record that changed it last.
#[derive(Default)]
struct Slot<S> {
    now: S,
    before: S,
    /// The number of that record; 0 if there was none.
    changed_by: u64,
}

impl<S: OperatorState> Slot<S> {
    /// Saves the state before this record changes it. It stays out of the way of the records that
    /// need no undo.
    #[cold]
    #[inline(never)]
    fn save(&mut self, record: u64) {
        self.before.clone_from(&self.now);
        self.changed_by = record;
    }
}

/// A [`Slot`] of any type.
trait AnySlot: Any + Send {
    /// Undoes what the record of this number has changed.
    fn undo(&mut self, record: u64);
}

impl<S: OperatorState> AnySlot for Slot<S> {
    fn undo(&mut self, record: u64) {
        if record != 0 && self.changed_by == record {
            std::mem::swap(&mut self.now, &mut self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Seen(Vec<u8>);

    impl OperatorState for Seen {}

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Size(usize);

    impl OperatorState for Size {}

    #[test]
    fn an_undone_record_leaves_every_state_as_it_was() {
        let mut types = StateTypes::default();
        let seen = types.add::<Seen>();
        let size = types.add::<Size>();
        let mut states = OperatorStates::new(&types);
        states.begin_record(true);
        states[seen].0.push(1);
        states.begin_record(true);
        states[seen].0.push(2);
        states[seen].0.push(3);
        states[size].0 = 3;
        states.undo_record();
        states.undo_record();
        assert_eq!(states[seen], Seen(vec![1]));
        assert_eq!(states[size], Size(0));
    }

    #[test]
    fn only_changes_of_the_record_itself_are_undone() {
        let mut types = StateTypes::default();
        let seen = types.add::<Seen>();
        let mut states = OperatorStates::new(&types);
        states[seen].0.push(1);
        states.begin_record(false);
        states[seen].0.push(2);
        states.begin_record(true);
        assert_eq!(states[seen].0.len(), 2, "a state that is only read is not saved");
        states.undo_record();
        assert_eq!(states[seen], Seen(vec![1, 2]));
    }
}
