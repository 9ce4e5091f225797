//! Whether a topology fits the state that the application has: it is compared with the topology
//! that ran last, which is recorded in a topic of the application's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use streams_core::{TableSpec, Topology};

use super::ownership;
use super::topology_record::{self, TopologyRecords};
use crate::config::TopologyChanges;
use crate::error::AppError;
use crate::transport::Admin;

/// The topology that is to start, compared with the one that ran last.
pub(crate) struct TopologyCompatibility<'a> {
    topology: &'a Topology,
    records: TopologyRecords<'a>,
    /// Where the application records its topology.
    topic: Arc<str>,
    /// The topology's shape, line by line.
    lines: BTreeSet<String>,
    /// The internal topics that the application had already.
    kept: BTreeSet<Arc<str>>,
    /// Whether the recorded topology is another one, or none is recorded.
    is_new: bool,
}

impl<'a> TopologyCompatibility<'a> {
    /// Compares the topology with the records of its last run and of other applications. Changes
    /// nothing.
    ///
    /// # Errors
    /// This topology has no place for state of the last run, and the configuration does not accept
    /// that; or it would misread that state; or it would share a topic with another application.
    pub(crate) fn look_up(
        topology: &'a Topology,
        admin: &mut dyn Admin,
        records: TopologyRecords<'a>,
    ) -> Result<Self, AppError> {
        let application = topology.application_id();
        let topic = topology_record::topic_of(application);
        let lines = topology.shape();
        let same = Self { topology, records, topic, lines, kept: BTreeSet::new(), is_new: false };
        // Without state of its own there is nothing to lose.
        if topology.internal_topics().is_empty() {
            return Ok(same);
        }
        ownership::check(topology, admin, records)?;
        let known = admin.describe(&[Arc::clone(&same.topic)], records.config.request_timeout)?;
        let before = match known.first() {
            Some(Some(_)) => records.last(&same.topic)?,
            _ => None,
        };
        let Some(before) = before else { return Ok(Self { is_new: true, ..same }) };
        let accepts = records.config.topology_changes == TopologyChanges::Accept;
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

    /// The internal topics that must exist: what they hold cannot be produced again.
    pub(crate) fn kept(&self) -> &BTreeSet<Arc<str>> {
        &self.kept
    }

    /// Records the topology for the next start.
    pub(crate) fn write(&self, admin: &mut dyn Admin) -> Result<(), AppError> {
        if !self.is_new {
            return Ok(());
        }
        self.records.write(&self.topic, &self.lines, admin)?;
        // Another application may have started at the same time, and not seen this record. Of two,
        // the one that writes last sees the other's.
        ownership::check(self.topology, admin, self.records)
    }

    /// Accepting that state is lost does not mean accepting that it is misread, such as windows of
    /// one length as those of another. Only a table with an empty changelog may change its kind.
    fn refuse_misreading(
        &self,
        before: &BTreeSet<String>,
        admin: &mut dyn Admin,
    ) -> Result<(), AppError> {
        let tables = self.topology.sub_topologies().iter().flat_map(|sub| sub.tables());
        for table in tables {
            let Some(Misreading { was, is }) = misread(table, before, &self.lines) else {
                continue;
            };
            let names = [Arc::clone(table.changelog())];
            let known = admin.describe(&names, self.records.config.request_timeout)?.pop();
            let Some(changelog) = known.flatten() else { continue };
            if !self.records.is_new(&changelog)? {
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

/// What a table held, and what it would be read as instead.
#[derive(Debug, PartialEq, Eq)]
struct Misreading {
    was: String,
    is: String,
}

fn misread(
    table: &TableSpec,
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
) -> Option<Misreading> {
    let find = |lines: &BTreeSet<String>, start: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(start))?;
        // What follows the first comma says where entries come from, not what they are.
        Some(line.split(',').next().unwrap_or(line).to_owned())
    };
    let of = format!("table {} of ", table.name());
    let terms = format!("table {}, ", table.name());
    // Keys have the same bytes whether they are read in ranges or not.
    let kind = |lines| find(lines, &of).map(|of| of.replace("ordered ", ""));
    let was = kind(before)?;
    let is = kind(now)?;
    if was != is {
        return Some(Misreading { was, is });
    }
    // Recorded by a version that recorded no windows: unknown, so there is nothing to compare.
    before.iter().find(|line| line.starts_with(&terms))?;
    let windows = |lines| {
        find(lines, &format!("{terms}windows: ")).unwrap_or_else(|| "of no windows".to_owned())
    };
    let windows_before = windows(before);
    let windows_now = windows(now);
    (windows_before != windows_now).then(|| Misreading {
        was: format!("{was} ({windows_before})"),
        is: format!("{is} ({windows_now})"),
    })
}

/// The internal topics of a topology that its last run had, too.
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

    /// What the table `t` would be read as, if these lines were recorded.
    fn misreading(before: &[&str], topology: &Topology) -> Option<Misreading> {
        let before = before.iter().map(|line| (*line).to_owned()).collect();
        let subs: Arc<[TableSpec]> = topology.sub_topologies()[0].tables().into();
        misread(&subs[0], &before, &topology.shape())
    }

    #[test]
    fn topics_of_the_last_run_must_exist() {
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
    fn only_a_table_of_another_kind_or_window_is_misread() {
        use streams_core::{Session, Tumbling};
        let second = std::time::Duration::from_secs(1);
        let tumbling = topology(Tumbling::of(second));
        let read_as =
            |was: &str, is: &str| Some(Misreading { was: was.to_owned(), is: is.to_owned() });
        assert_eq!(misreading(&[], &tumbling), None);
        assert_eq!(misreading(&["table t of windows, from old"], &tumbling), None);
        let keys = ["table t of ordered keys, from in"];
        assert_eq!(misreading(&keys, &tumbling), read_as("keys", "windows"));
        let hopping =
            ["table t of windows, from in", "table t, windows: hopping of 1000 ms, every 5 ms"];
        let expected = read_as("windows (hopping of 1000 ms)", "windows (tumbling of 1000 ms)");
        assert_eq!(misreading(&hopping, &tumbling), expected);
        let sessions = topology(Session::of(second));
        let longer = ["table t of keys and times, from in", "table t, windows: sessions, of 5 ms"];
        assert_eq!(misreading(&longer, &sessions), None);
        let buffer = ["table t of keys and times, from in", "table t, keys: UTF-8 text"];
        let expected = read_as("keys and times (of no windows)", "keys and times (sessions)");
        assert_eq!(misreading(&buffer, &sessions), expected);
    }
}
