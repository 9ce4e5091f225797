//! The topology while it is being described: plain lists, which are checked and frozen at the end.

use std::sync::Arc;

use super::names;
use super::types::{Types, Use};
use crate::agent::AgentRunner;
use crate::consumed::Start;
use crate::global::GlobalSource;
use crate::operator_state::{OperatorState, StateIndex, StateTypes};
use crate::operators::{Hook, ReceiveRaw};
use crate::policy::ErrorPolicy;
use crate::reader::{KeptWindows, WindowCell};
use crate::receive::Receive;
use crate::schedule::Schedule;
use crate::state::changelog::{Layout, Ttl};
use crate::state::tables::TableIndex;
use crate::stream_clock::{ClockIndex, CommittedCount};
use crate::table::Table;
use crate::tick::{Missed, Tick};
use crate::topology::{Node, NodeId, NodeKind, SourceKind, TicksNode};

pub(crate) struct TickDraft {
    pub(crate) node: NodeId,
    /// `None` if its description was wrong, which was reported as a problem.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) missed: Missed,
    /// `None` if nothing uses them.
    pub(crate) next: Option<Box<dyn Receive<String, Tick>>>,
}

pub(crate) struct SourceDraft {
    pub(crate) topic: Arc<str>,
    pub(crate) kind: SourceKind,
    pub(crate) start: Start,
    pub(crate) policy: Option<ErrorPolicy>,
    /// The table of records that wait for a retry, once the policy is known.
    pub(crate) retries: Option<TableIndex>,
    pub(crate) max_ahead_ms: Option<i64>,
    pub(crate) node: NodeId,
    pub(crate) receivers: Vec<Box<dyn ReceiveRaw>>,
    pub(crate) agents: Vec<Arc<dyn AgentRunner>>,
}

impl SourceDraft {
    fn new(topic: Arc<str>, kind: SourceKind, node: NodeId) -> Self {
        Self {
            topic,
            kind,
            start: Start::Earliest,
            policy: None,
            retries: None,
            max_ahead_ms: None,
            node,
            receivers: Vec::new(),
            agents: Vec::new(),
        }
    }
}

pub(crate) struct TableDraft {
    pub(crate) name: Arc<str>,
    pub(crate) layout: Layout,
    pub(crate) writer: Option<String>,
    /// Those that read it and do not write it.
    pub(crate) readers: Vec<String>,
    /// Whether a reader may ask for ranges of keys.
    pub(crate) is_ranged: bool,
    /// The ttl of its writer.
    pub(crate) ttl: Option<Ttl>,
    /// Readers that expect a ttl, with that ttl in milliseconds.
    pub(crate) read_ttls: Vec<(String, i64)>,
    /// The types that its writer writes, if the user chose them.
    pub(crate) types: Option<Types>,
    /// A description of its windows, if it has windows.
    pub(crate) windows: Option<String>,
    /// The windows as readers see them.
    pub(crate) kept_windows: WindowCell,
}

/// A stream time that is stored under a name.
pub(crate) struct ClockDraft {
    pub(crate) name: Arc<str>,
    pub(crate) node: NodeId,
    /// Whether it closes windows that stay in their table. Then its closing position is stored too.
    pub(crate) closes: bool,
}

pub(crate) struct Graph {
    pub(crate) application_id: Arc<str>,
    pub(crate) default_policy: ErrorPolicy,
    pub(crate) nodes: Vec<Node>,
    pub(crate) sources: Vec<SourceDraft>,
    pub(crate) tables: Vec<TableDraft>,
    pub(crate) clocks: Vec<ClockDraft>,
    pub(crate) states: StateTypes,
    pub(crate) hooks: Vec<(NodeId, Arc<dyn Hook>)>,
    pub(crate) globals: Vec<GlobalSource>,
    pub(crate) ticks: Vec<TickDraft>,
    pub(crate) topic_uses: Vec<Use>,
    pub(crate) table_uses: Vec<Use>,
    pub(crate) problems: Vec<String>,
    /// Set while the chain of an independent reader is connected: where the chain goes then.
    pub(crate) apart: Option<Option<(Arc<str>, Box<dyn ReceiveRaw>)>>,
    pub(crate) at_freeze: Vec<Box<dyn FnOnce()>>,
}

impl Graph {
    pub(crate) fn new(application_id: Arc<str>) -> Self {
        let mut graph = Self {
            default_policy: ErrorPolicy::Fail,
            nodes: Vec::new(),
            sources: Vec::new(),
            tables: Vec::new(),
            clocks: Vec::new(),
            states: StateTypes::default(),
            hooks: Vec::new(),
            globals: Vec::new(),
            ticks: Vec::new(),
            topic_uses: Vec::new(),
            table_uses: Vec::new(),
            problems: Vec::new(),
            apart: None,
            at_freeze: Vec::new(),
            application_id,
        };
        let id = Arc::clone(&graph.application_id);
        graph.check_name("the application id", &id);
        graph
    }

    pub(crate) fn check_name(&mut self, what: &str, name: &str) {
        if let Some(fault) = names::fault(name) {
            self.problems.push(format!("{what} {name:?} {fault}"));
        }
    }

    pub(crate) fn add_node(&mut self, kind: NodeKind, parents: &[NodeId]) -> NodeId {
        self.nodes.push(Node { kind, parents: parents.to_vec(), tables: Vec::new() });
        self.nodes.len() - 1
    }

    pub(crate) fn add_source(
        &mut self,
        topic: &Arc<str>,
        kind: SourceKind,
        start: Start,
        policy: Option<ErrorPolicy>,
        max_ahead_ms: Option<i64>,
    ) -> NodeId {
        if let Some(source) = self.sources.iter().find(|source| source.topic == *topic) {
            let same = source.start == start
                && source.policy == policy
                && source.max_ahead_ms == max_ahead_ms;
            let node = source.node;
            let other = source.kind;
            if other != kind {
                let what = match (other, kind) {
                    (SourceKind::Ticks, _) | (_, SourceKind::Ticks) => "the topic of ticks",
                    _ => "a repartition topic",
                };
                self.problems.push(format!(
                    "the topic {topic} is {what} of the application, but is also consumed as one \
                     of the user's: give one of them another name"
                ));
            }
            if !same {
                self.problems.push(format!("the topic {topic} is consumed with different options"));
            }
            return node;
        }
        self.check_name("the topic", topic);
        let node = self.add_node(NodeKind::Source(Arc::clone(topic)), &[]);
        let draft = SourceDraft::new(Arc::clone(topic), kind, node);
        self.sources.push(SourceDraft { start, policy, max_ahead_ms, ..draft });
        node
    }

    /// Registers ticks, either of the application or of each task of the stream at `parent`, and
    /// returns their number.
    pub(crate) fn add_ticks(
        &mut self,
        name: &str,
        described: String,
        schedule: Result<Schedule, String>,
        parent: Option<NodeId>,
    ) -> usize {
        self.check_name("the ticks", name);
        let schedule = match schedule {
            Ok(schedule) => Some(schedule),
            Err(why) => {
                self.problems.push(format!("the ticks {name}, {described}: {why}"));
                None
            }
        };
        let topic: Option<Arc<str>> = match parent {
            Some(_) => None,
            None => Some(format!("{}-{name}-ticks", self.application_id).into()),
        };
        let name = name.into();
        let shown = TicksNode { name, schedule: described, topic: topic.clone() };
        let node = self.add_node(NodeKind::Ticks(shown), parent.as_slice());
        if let Some(topic) = topic {
            self.sources.push(SourceDraft::new(topic, SourceKind::Ticks, node));
        }
        self.ticks.push(TickDraft { node, schedule, missed: Missed::default(), next: None });
        self.ticks.len() - 1
    }

    fn source_mut(&mut self, topic: &str) -> Option<&mut SourceDraft> {
        self.sources.iter_mut().find(|source| &*source.topic == topic)
    }

    pub(crate) fn add_receiver(&mut self, topic: &Arc<str>, receiver: Box<dyn ReceiveRaw>) {
        if let Some(apart) = &mut self.apart {
            *apart = Some((Arc::clone(topic), receiver));
            return;
        }
        if let Some(source) = self.source_mut(topic) {
            source.receivers.push(receiver);
        }
    }

    pub(crate) fn add_agent(&mut self, topic: &str, agent: Arc<dyn AgentRunner>) {
        if let Some(source) = self.source_mut(topic) {
            source.agents.push(agent);
        }
    }

    /// Whether only operators that look at one record at a time are between a source and `node`.
    pub(crate) fn is_stateless(&self, node: NodeId) -> bool {
        let Node { kind, parents, tables } = &self.nodes[node];
        match (kind, &parents[..]) {
            (NodeKind::Source(_), _) => true,
            (NodeKind::Operator(_), [parent]) => tables.is_empty() && self.is_stateless(*parent),
            _ => false,
        }
    }

    /// Notes that `user` uses one of the user's topics with these types.
    pub(crate) fn use_topic(&mut self, topic: &Arc<str>, user: impl Into<String>, types: Types) {
        self.topic_uses.push(Use { name: Arc::clone(topic), user: user.into(), types });
    }

    /// Registers `node` as the writer of a table. `types` are the user's, if the user chose them.
    pub(crate) fn add_table(
        &mut self,
        name: &Arc<str>,
        layout: Layout,
        types: Option<Types>,
        writer: &str,
        node: NodeId,
    ) -> TableIndex {
        let index = self.table_index(name, layout);
        if let Some(types) = types.clone() {
            let name = Arc::clone(name);
            self.table_uses.push(Use { name, user: writer.to_owned(), types });
        }
        let table = &mut self.tables[index];
        // A reader may have named the table before, without knowing its layout.
        table.layout = layout;
        table.types = types;
        match &table.writer {
            Some(first) => {
                let problem = format!("the table {name} has two writers: {first} and {writer}");
                self.problems.push(problem);
            }
            None => table.writer = Some(writer.to_owned()),
        }
        self.nodes[node].tables.push(index);
        index
    }

    /// Notes that the table has windows.
    pub(crate) fn set_windows(&mut self, table: TableIndex, windows: String) {
        self.tables[table].windows = Some(windows);
    }

    /// Sets the windows as readers see them.
    pub(crate) fn set_kept_windows(&mut self, table: TableIndex, windows: Arc<dyn KeptWindows>) {
        // If there are two writers, which is reported elsewhere, the first one counts.
        let _ = self.tables[table].kept_windows.set(windows);
    }

    /// Makes rows of the table expire `ttl_ms` after their timestamps, by a stream time of its own.
    pub(crate) fn expire_rows(&mut self, table: TableIndex, ttl_ms: i64, node: NodeId) {
        let name = Arc::clone(&self.tables[table].name);
        if ttl_ms < 1 {
            self.problems.push(format!("the ttl of the table {name} must be at least 1 ms"));
        }
        let clock = self.add_clock(format!("{name}/ttl"), node);
        self.tables[table].ttl = Some(Ttl { ms: ttl_ms.max(1), clock });
    }

    /// Registers `node` as a reader of a table that something else writes.
    pub(crate) fn use_table<K: 'static, V: 'static>(
        &mut self,
        table: &Table<K, V>,
        reader: &str,
        node: NodeId,
    ) -> TableIndex {
        let name = &table.name;
        let types = Types::of_table(table);
        let index = self.table_index(name, Layout::KeyValue);
        self.table_uses.push(Use { name: Arc::clone(name), user: reader.to_owned(), types });
        let draft = &mut self.tables[index];
        draft.readers.push(reader.to_owned());
        draft.read_ttls.extend(table.ttl_ms.map(|ttl_ms| (reader.to_owned(), ttl_ms)));
        self.nodes[node].tables.push(index);
        index
    }

    /// The number of a table, which is registered when it is first named.
    fn table_index(&mut self, name: &Arc<str>, layout: Layout) -> TableIndex {
        if let Some(index) = self.tables.iter().position(|table| table.name == *name) {
            return index;
        }
        self.check_name("the table", name);
        let table = TableDraft {
            name: Arc::clone(name),
            layout,
            writer: None,
            readers: Vec::new(),
            is_ranged: false,
            ttl: None,
            read_ttls: Vec::new(),
            types: None,
            windows: None,
            kept_windows: WindowCell::default(),
        };
        self.tables.push(table);
        self.tables.len() - 1
    }

    /// Adds a stream time for `node`, stored under the name of one of its tables. An operator with
    /// several appends `/1`, `/2`, … to it, which no table's name can contain.
    pub(crate) fn add_clock(&mut self, name: impl Into<Arc<str>>, node: NodeId) -> ClockIndex {
        self.clocks.push(ClockDraft { name: name.into(), node, closes: false });
        self.clocks.len() - 1
    }

    /// Adds a stream time that closes windows.
    pub(crate) fn add_closing_clock(&mut self, name: String, node: NodeId) -> ClockIndex {
        let clock = self.add_clock(name, node);
        self.clocks[clock].closes = true;
        clock
    }

    /// Adds a count for `node`, stored like a stream time.
    pub(crate) fn add_count(&mut self, name: impl Into<Arc<str>>, node: NodeId) -> CommittedCount {
        CommittedCount(self.add_clock(name, node))
    }

    /// Adds what an operator keeps between records besides its stream time.
    pub(crate) fn add_state<S: OperatorState>(&mut self) -> StateIndex<S> {
        self.states.add()
    }

    /// Registers a global table and returns its number.
    pub(crate) fn add_global(&mut self, source: GlobalSource) -> usize {
        self.check_name("the topic", &source.topic);
        self.check_name("the table", &source.name);
        self.globals.push(source);
        self.globals.len() - 1
    }

    pub(crate) fn add_hook(&mut self, node: NodeId, hook: Arc<dyn Hook>) {
        self.hooks.push((node, hook));
    }
}
