//! From a case's description to a topology, through the public API.

mod groups;
mod joins;
mod process;
mod sinks;
mod sources;
mod streams;
mod suppressed;
mod tables;
pub mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use headwater::operators::{Chain, SharedReceiver};
use headwater::tables::TableStream;
use headwater::windows::Windowed;
use headwater::{Builder, Stream, Table, Topology};

use crate::case::{Case, CaseError, Op};
use crate::key::{Key, RowKey, Val};
use crate::plan::CasePlan;
use groups::Grouping;
use windows::AnyWindows;

/// The topology of a case.
pub struct Built {
    /// The topology.
    pub topology: Topology,
    /// Its tables by the names that the case gives them.
    pub stores: BTreeMap<String, CaseTable>,
    /// What the `peek`s saw: operator, key, value.
    pub peeked: Arc<Mutex<Vec<(String, Key, Val)>>>,
}

/// A table of a case.
#[derive(Clone)]
pub enum CaseTable {
    /// Values.
    Values(Table<Key, Val>),
    /// Values of windowed keys.
    WindowKeys(Table<Windowed<Key>, Val>),
    /// Counts.
    Counts(Table<Key, u64>),
    /// Values by window.
    Windows(Table<Key, Val>, AnyWindows),
    /// Counts by window.
    WindowCounts(Table<Key, u64>, AnyWindows),
    /// A processor's integers.
    Numbers(Table<Key, i64>),
    /// A global table; its contents cannot be queried from outside.
    Global,
}

/// A stream of any chain.
pub(crate) type AnyStream<'b> = Stream<'b, Key, Val, SharedReceiver<Key, Val>>;

/// A stream, and whether its records may be in the wrong partition for their keys.
#[derive(Clone)]
pub(crate) struct Flow<'b> {
    pub(crate) stream: AnyStream<'b>,
    pub(crate) rekeyed: bool,
}

/// The meaning of a name in a case.
#[derive(Clone)]
pub(crate) enum CaseNode<'b> {
    Stream(Flow<'b>),
    /// A table that does not know its rows' former values: optional values by key.
    Changes(Flow<'b>),
    Table(TableStream<'b, Key, Val>),
    WindowTable(TableStream<'b, Windowed<Key>, Val>),
    Global(headwater::tables::GlobalTable<Key, Val>),
    Group(Grouping<'b>),
}

/// Builds a case's topology.
pub struct Build<'b> {
    app: &'b Builder,
    plan: CasePlan,
    nodes: BTreeMap<String, CaseNode<'b>>,
    stores: BTreeMap<String, CaseTable>,
    peeked: Arc<Mutex<Vec<(String, Key, Val)>>>,
    generated: usize,
    /// All operators of the case.
    ops: &'b [Op],
    /// Rows that came out of a `suppress`, with the previous update.
    pairs: BTreeMap<String, AnyStream<'b>>,
}

/// Builds a case's topology.
pub fn build(case: &Case) -> Result<Built, CaseError> {
    let app = Builder::new("case");
    let mut build = Build {
        app: &app,
        plan: CasePlan::of(&case.topology)?,
        nodes: BTreeMap::new(),
        stores: BTreeMap::new(),
        peeked: Arc::default(),
        generated: 0,
        ops: &case.topology.ops,
        pairs: BTreeMap::new(),
    };
    for source in &case.topology.sources {
        build.source(source)?;
    }
    for op in &case.topology.ops {
        build.op(op)?;
    }
    for sink in &case.topology.sinks {
        build.sink(sink)?;
    }
    // `build` borrows the builder that `app.build()` consumes.
    let Build { stores, peeked, .. } = build;
    let topology = app.build().map_err(|error| CaseError::Unknown(error.to_string()))?;
    Ok(Built { topology, stores, peeked })
}

impl<'b> Build<'b> {
    fn op(&mut self, op: &Op) -> Result<(), CaseError> {
        match op.op.as_str() {
            "filter" | "filter_not" => self.filter(op),
            "map_values" => self.map_values(op),
            "map" | "select_key" => self.map(op),
            "flat_map" | "flat_map_values" => self.flat_map(op),
            "split" => self.split(op),
            "merge" => self.merge(op),
            "peek" => self.peek(op),
            "repartition" => self.repartition(op),
            "to_stream" => self.turn_into_stream(op),
            "to_table" => self.turn_into_table(op),
            "group_by" | "group_by_key" => self.group(op),
            "count" | "reduce" | "aggregate" => self.aggregate(op),
            "cogroup" => self.cogroup(op),
            "suppress" => self.suppress(op),
            "join" => self.join(op),
            "fk_join" => self.fk_join(op),
            "process" => self.process(op),
            other => Err(CaseError::at(&op.id, format!("no operator is called {other}"))),
        }
    }

    fn node(&self, op: &Op, name: &str) -> Result<CaseNode<'b>, CaseError> {
        self.find(&op.id, name)
    }

    fn find(&self, at: &str, name: &str) -> Result<CaseNode<'b>, CaseError> {
        let node = self.nodes.get(name).cloned();
        node.ok_or_else(|| CaseError::at(at, format!("nothing is called {name}")))
    }

    fn from(&self, op: &Op) -> Result<CaseNode<'b>, CaseError> {
        self.node(op, &op.get::<String>("from")?)
    }

    /// The input stream of an operator.
    fn flow(&self, op: &Op, name: &str) -> Result<Flow<'b>, CaseError> {
        match self.node(op, name)? {
            CaseNode::Stream(flow) => Ok(flow),
            _ => Err(CaseError::at(&op.id, format!("{name} is no stream"))),
        }
    }

    fn add(&mut self, op: &Op, node: CaseNode<'b>) -> Result<(), CaseError> {
        self.nodes.insert(op.id.clone(), node);
        Ok(())
    }

    fn add_stream(
        &mut self,
        id: &str,
        stream: Stream<'b, Key, Val, impl Chain<Key = Key, Value = Val>>,
        rekeyed: bool,
    ) -> Result<(), CaseError> {
        let flow = Flow { stream: stream.shared(), rekeyed };
        self.nodes.insert(id.to_owned(), CaseNode::Stream(flow));
        Ok(())
    }

    /// A name for something that the case leaves unnamed.
    fn generate(&mut self, what: &str) -> String {
        self.generated += 1;
        let what: String =
            what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("g{}-{what}", self.generated)
    }

    /// The name that an operator's table has in the case, or one made up.
    fn store_name(&mut self, op: &Op) -> Result<String, CaseError> {
        Ok(match op.store()? {
            Some(name) => name,
            None => self.generate(&op.id),
        })
    }
}

/// A row's key as a key of the case, for a function.
pub(crate) fn with_key<K: RowKey, T, R>(function: impl Fn(&Key, T) -> R) -> impl Fn(&K, T) -> R {
    move |key, value| function(&key.to_key(), value)
}
