//! What the application kept when it last ran, noted in a topic of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use streams_core::{TableSpec, Topology};

use super::ownership;
use super::topology_record::{self, TopologyRecords};
use crate::clock::Clock;
use crate::config::{Config, TopologyChanges};
use crate::error::AppError;
use crate::transport::{Admin, Transport};

/// The shape of the topology that is to start, compared with the one that ran before.
pub(crate) struct TopologyCompatibility<'a> {
    topology: &'a Topology,
    notes: TopologyRecords<'a>,
    topic: Arc<str>,
    lines: BTreeSet<String>,
    /// The internal topics that the application had already.
    kept: BTreeSet<Arc<str>>,
    /// Whether the topic says something else, or nothing.
    is_new: bool,
}

impl<'a> TopologyCompatibility<'a> {
    /// Compares the topology with what the log says about its last run, and about other
    /// applications. Touches nothing.
    ///
    /// # Errors
    /// Something of the last run's has no place in this topology, and that is not accepted, or
    /// would be taken for something else; or a topic would be shared with another application.
    pub(crate) fn look_up(
        topology: &'a Topology,
        admin: &mut dyn Admin,
        (log, clock, config): (&'a dyn Transport, &'a dyn Clock, &'a Config),
    ) -> Result<Self, AppError> {
        let application = topology.application_id();
        let notes = TopologyRecords { log, clock, config };
        let topic = topology_record::topic_of(application);
        let lines = topology.shape();
        let same = Self { topology, notes, topic, lines, kept: BTreeSet::new(), is_new: false };
        // Without state of its own there is nothing to lose.
        if topology.internal_topics().is_empty() {
            return Ok(same);
        }
        ownership::check(topology, admin, notes)?;
        let known = admin.describe(&[Arc::clone(&same.topic)], config.request_timeout)?;
        let before = match known.first() {
            Some(Some(_)) => notes.last(&same.topic)?,
            _ => None,
        };
        let Some(before) = before else { return Ok(Self { is_new: true, ..same }) };
        let accepts = config.topology_changes == TopologyChanges::Accept;
        let kept = if accepts { BTreeSet::new() } else { kept(topology, &before) };
        let same = Self { kept, ..same };
        if before == same.lines {
            return Ok(same);
        }
        let difference = difference(&before, &same.lines);
        let is_lost = !before.is_subset(&same.lines);
        if is_lost && !accepts {
            let application = Arc::clone(application);
            return Err(AppError::TopologyChanged { application, difference });
        }
        same.refuse_misreading(&before, admin)?;
        tracing::info!(app = %application, "the topology has changed:\n{difference}");
        Ok(Self { is_new: true, ..same })
    }

    /// The internal topics that must be there: what they hold cannot be made again.
    pub(crate) fn kept(&self) -> &BTreeSet<Arc<str>> {
        &self.kept
    }

    /// Notes it for the next start.
    pub(crate) fn write(&self, admin: &mut dyn Admin) -> Result<(), AppError> {
        if !self.is_new {
            return Ok(());
        }
        self.notes.write(&self.topic, &self.lines, admin)?;
        // Another application may have started at the same time, and not seen this note: of two,
        // the one that notes last sees the other's.
        ownership::check(self.topology, admin, self.notes)
    }

    /// Whoever accepts that state is lost does not accept that it is taken for something else:
    /// windows of one length for those of another. Only an empty changelog can be begun again.
    fn refuse_misreading(
        &self,
        before: &BTreeSet<String>,
        admin: &mut dyn Admin,
    ) -> Result<(), AppError> {
        let tables = self.topology.sub_topologies().iter().flat_map(|sub| sub.tables());
        for table in tables {
            let Some((was, is)) = misread(table, before, &self.lines) else { continue };
            let names = [Arc::clone(table.changelog())];
            let known = admin.describe(&names, self.notes.config.request_timeout)?.pop();
            let Some(changelog) = known.flatten() else { continue };
            if !self.notes.is_new(&changelog)? {
                return Err(AppError::TableMeansSomethingElse {
                    table: Arc::clone(table.name()),
                    changelog: Arc::clone(table.changelog()),
                    was,
                    is,
                });
            }
        }
        Ok(())
    }
}

/// What a table's entries were and what they would be taken for, if that is something else.
fn misread(
    table: &TableSpec,
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
) -> Option<(String, String)> {
    let find = |lines: &BTreeSet<String>, start: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(start))?;
        // What comes behind the first comma says where entries come from, not what they are.
        Some(line.split(',').next().unwrap_or(line).to_owned())
    };
    let of = format!("table {} of ", table.name());
    let terms = format!("table {}, ", table.name());
    // Keys are kept in the same bytes whether they are read in ranges or not.
    let layout = |lines| find(lines, &of).map(|of| of.replace("ordered ", ""));
    let kinds = (layout(before)?, layout(now)?);
    if kinds.0 != kinds.1 {
        return Some(kinds);
    }
    // Noted by a version that noted no windows: unknown, and taken as it is.
    before.iter().find(|line| line.starts_with(&terms))?;
    let windows = |lines| find(lines, &format!("{terms}windows: "));
    let windows = (windows(before), windows(now));
    let told = |windows: Option<String>| {
        format!("{} ({})", kinds.0, windows.as_deref().unwrap_or("of no windows"))
    };
    (windows.0 != windows.1).then(|| (told(windows.0), told(windows.1)))
}

/// The internal topics of a topology that its last run had too.
fn kept(topology: &Topology, before: &BTreeSet<String>) -> BTreeSet<Arc<str>> {
    let had = |name: &str| {
        let table = format!("table {name} of ");
        before.iter().any(|line| line.starts_with(&table))
    };
    let tables = topology.sub_topologies().iter().flat_map(|sub| sub.tables());
    let changelogs = tables.filter(|table| had(table.name())).map(|table| table.changelog());
    let internal = topology.internal_topics().iter().map(|topic| &topic.name);
    let had_own = |name: &&Arc<str>| {
        let lines = ["re-keys by", "ticks by"].map(|line| format!("{line} {name}"));
        lines.iter().any(|line| before.contains(line))
    };
    changelogs.chain(internal.filter(had_own)).map(Arc::clone).collect()
}

fn difference(before: &BTreeSet<String>, now: &BTreeSet<String>) -> String {
    let gone = before.difference(now).map(|line| format!("- {line}"));
    let new = now.difference(before).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use streams_core::{Builder, Table, Topic, Windows};

    use super::*;

    fn topology(windows: impl Windows + Clone) -> Topology {
        let app = Builder::new("shop");
        let input = app.stream(&Topic::<String, u64>::new("in")).group_by_key();
        let _ = input.window(windows).count(&Table::new("t")).into_table();
        app.build().expect("valid")
    }

    /// What the table `t` is taken for, if the lines were noted before.
    fn taken_for(before: &[&str], topology: &Topology) -> Option<(String, String)> {
        let before = before.iter().map(|line| (*line).to_owned()).collect();
        let subs: Arc<[TableSpec]> = topology.sub_topologies()[0].tables().into();
        misread(&subs[0], &before, &topology.shape())
    }

    #[test]
    fn what_it_had_must_be_there() {
        let app = Builder::new("shop");
        app.every("beat", std::time::Duration::from_secs(1)).map_values(|_| 7).to(&Topic::new("o"));
        let input = app.stream(&Topic::<String, u64>::new("in"));
        input.group_by("by-it", |key, _| key.clone()).count(&Table::new("t"));
        let topology = app.build().expect("valid");
        assert!(kept(&topology, &BTreeSet::new()).is_empty());
        let kept: Vec<_> = kept(&topology, &topology.shape()).into_iter().collect();
        let expected = ["shop-beat-ticks", "shop-by-it-repartition", "shop-t-changelog"];
        assert_eq!(kept, expected.map(Arc::from));
    }

    #[test]
    fn only_what_would_be_taken_for_something_else_is_misread() {
        use streams_core::{Session, Tumbling};
        let second = std::time::Duration::from_secs(1);
        let tumbling = topology(Tumbling::of(second));
        let told = |was: &str, is: &str| Some((was.to_owned(), is.to_owned()));
        assert_eq!(taken_for(&[], &tumbling), None);
        assert_eq!(taken_for(&["table t of windows, from old"], &tumbling), None);
        let keys = ["table t of ordered keys, from in"];
        assert_eq!(taken_for(&keys, &tumbling), told("keys", "windows"));
        let hopping =
            ["table t of windows, from in", "table t, windows: hopping of 1000 ms, every 5 ms"];
        let expected = told("windows (hopping of 1000 ms)", "windows (tumbling of 1000 ms)");
        assert_eq!(taken_for(&hopping, &tumbling), expected);
        let sessions = topology(Session::of(second));
        let longer = ["table t of keys and times, from in", "table t, windows: sessions, of 5 ms"];
        assert_eq!(taken_for(&longer, &sessions), None);
        let buffer = ["table t of keys and times, from in", "table t, keys: UTF-8 text"];
        let expected = told("keys and times (of no windows)", "keys and times (sessions)");
        assert_eq!(taken_for(&buffer, &sessions), expected);
    }
}
