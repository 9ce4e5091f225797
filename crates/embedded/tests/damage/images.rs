//! What can happen to a log's directory.

use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::Chance;
use super::workload::{LOGS, copy};

const DATABASE: &str = "log.redb";
const MARK: &str = "log.mark";
const PAGE: usize = 4096;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TABLES: [&str; 7] =
    ["meta", "topics", "partitions", "segments", "aborted", "transactional", "offsets"];

/// Copies one of the logs below `logs` to `directory` and damages it. Returns which log it was, and
/// the damage. Some damage can only be noticed if the whole log is `verified`.
pub(crate) fn damage(
    logs: &Path,
    directory: &Path,
    verified: bool,
    chance: &mut Chance,
) -> (u64, String) {
    let number = chance.below(LOGS);
    let log = logs.join(number.to_string());
    copy(&log.join("late"), directory);
    let database = directory.join(DATABASE);
    let what = match chance.below(100) {
        0..35 => flip(&database, chance),
        35..40 => flip(&directory.join(MARK), chance),
        40..50 => cut(&database, chance),
        50..52 => cut(&directory.join(MARK), chance),
        52..58 => zero(&database, chance),
        58..64 => exchange_pages(&database, chance),
        64..70 => stale_page(&database, &log.join("early").join(DATABASE), chance),
        70..78 => other_file(logs, &log, number, directory, chance),
        78..84 if verified => earlier_row(&database, &log.join("early").join(DATABASE), chance),
        _ => rows(&database, chance),
    };
    (number, what)
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>) -> String) -> String {
    let mut bytes = fs::read(path).unwrap();
    let what = change(&mut bytes);
    fs::write(path, bytes).unwrap();
    what
}

/// An index into a file, often in its header.
fn place(len: usize, chance: &mut Chance) -> usize {
    match chance.below(8) {
        0 => chance.below(len.min(320) as u64) as usize,
        _ => chance.below(len as u64) as usize,
    }
}

fn flip(path: &Path, chance: &mut Chance) -> String {
    edit(path, |bytes| {
        let mut at = Vec::new();
        for _ in 0..=chance.below(3) {
            let index = place(bytes.len(), chance);
            let bit = chance.below(8);
            bytes[index] ^= 1 << bit;
            at.push(format!("{index}.{bit}"));
        }
        format!("flipped {at:?} of {path:?}")
    })
}

fn cut(path: &Path, chance: &mut Chance) -> String {
    edit(path, |bytes| {
        let at = chance.below(bytes.len() as u64) as usize;
        let at = match chance.below(4) {
            0 => 0,
            1 => at,
            2 => at / PAGE * PAGE,
            _ => bytes.len() + 1 + at,
        };
        bytes.resize(at, 0);
        format!("cut {path:?} to {at}")
    })
}

fn zero(path: &Path, chance: &mut Chance) -> String {
    edit(path, |bytes| {
        let from = place(bytes.len(), chance) / 512 * 512;
        let to = match chance.below(2) {
            0 => bytes.len(),
            _ => (from + 512 * (1 + chance.below(20) as usize)).min(bytes.len()),
        };
        bytes[from..to].fill(if chance.below(4) == 0 { 0xff } else { 0 });
        format!("wiped {from}..{to} of {path:?}")
    })
}

fn exchange_pages(path: &Path, chance: &mut Chance) -> String {
    edit(path, |bytes| {
        let pages = (bytes.len() / PAGE) as u64;
        let one = chance.below(pages) as usize;
        let other = chance.below(pages) as usize;
        let page = bytes[one * PAGE..][..PAGE].to_vec();
        bytes.copy_within(other * PAGE..(other + 1) * PAGE, one * PAGE);
        if chance.below(2) == 0 {
            bytes[other * PAGE..][..PAGE].copy_from_slice(&page);
        }
        format!("pages {one} and {other} of {path:?}")
    })
}

/// A write that the disk acknowledged and never did.
fn stale_page(path: &Path, early: &Path, chance: &mut Chance) -> String {
    let early = fs::read(early).unwrap();
    edit(path, |bytes| {
        let pages = (bytes.len().min(early.len()) / PAGE) as u64;
        let page = chance.below(pages) as usize;
        bytes[page * PAGE..][..PAGE].copy_from_slice(&early[page * PAGE..][..PAGE]);
        format!("page {page} of {path:?} as it was earlier")
    })
}

/// Files that are missing, belong to another log, or are from another time.
fn other_file(
    logs: &Path,
    log: &Path,
    number: u64,
    directory: &Path,
    chance: &mut Chance,
) -> String {
    let file = if chance.below(2) == 0 { DATABASE } else { MARK };
    let path = directory.join(file);
    let other = logs.join(((number + 1 + chance.below(LOGS - 1)) % LOGS).to_string());
    let what = match chance.below(4) {
        0 => {
            fs::remove_file(&path).unwrap();
            "is missing"
        }
        1 => {
            fs::write(&path, b"").unwrap();
            "is empty"
        }
        2 => {
            fs::copy(other.join("late").join(file), &path).unwrap();
            "is another log's"
        }
        _ => {
            fs::copy(log.join("early").join(file), &path).unwrap();
            "is an earlier one"
        }
    };
    format!("{path:?} {what}")
}

type Row = (Vec<u8>, Vec<u8>);

fn rows_of(database: &Database, table: Definition) -> Vec<Row> {
    let table = database.begin_read().unwrap().open_table(table).unwrap();
    let rows = table.iter().unwrap().map(|row| row.unwrap());
    rows.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect()
}

/// Rows that the log did not write, in valid pages.
fn rows(path: &Path, chance: &mut Chance) -> String {
    let database = Database::create(path).unwrap();
    let name = some_table(chance);
    let table = Definition::new(name);
    let all = rows_of(&database, table);
    let (what, changes) = hostile(&all, chance);
    change(&database, table, changes);
    format!("{name}: {what} of {} rows", all.len())
}

fn some_table(chance: &mut Chance) -> &'static str {
    match chance.below(2) {
        0 => "segments",
        _ => TABLES[chance.below(TABLES.len() as u64) as usize],
    }
}

fn change(database: &Database, table: Definition, changes: Vec<Change>) {
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(&key[..], &value[..]).unwrap(),
                None => table.remove(&key[..]).unwrap(),
            };
        }
    }
    transaction.commit().unwrap();
}

/// An earlier version of a row that the log itself wrote.
fn earlier_row(path: &Path, early: &Path, chance: &mut Chance) -> String {
    let name = some_table(chance);
    let table = Definition::new(name);
    let copied = path.with_extension("early");
    fs::copy(early, &copied).unwrap();
    let former = rows_of(&Database::create(&copied).unwrap(), table);
    fs::remove_file(copied).unwrap();
    let database = Database::create(path).unwrap();
    let now = rows_of(&database, table);
    let mut gone: Vec<_> = former.into_iter().filter(|row| !now.contains(row)).collect();
    if gone.is_empty() {
        return format!("{name}: nothing, it is as it was");
    }
    let (key, value) = gone.swap_remove(chance.below(gone.len() as u64) as usize);
    change(&database, table, vec![(key, Some(value))]);
    format!("{name}: a row as it was earlier")
}

type Change = (Vec<u8>, Option<Vec<u8>>);

fn hostile(all: &[Row], chance: &mut Chance) -> (String, Vec<Change>) {
    let mut random = |len: u64| (0..len).map(|_| chance.below(256) as u8).collect::<Vec<_>>();
    let noise = random(64);
    let key = random(12);
    if all.is_empty() {
        return ("a row too many".into(), vec![(key, Some(noise))]);
    }
    let index = chance.below(all.len() as u64) as usize;
    let (key, mut value) = all[index].clone();
    let (other_key, other_value) = all[chance.below(all.len() as u64) as usize].clone();
    match chance.below(12) {
        0 | 8..12 => (format!("no row {index}"), vec![(key, None)]),
        1 => {
            ("two rows exchanged".into(), vec![(key, Some(other_value)), (other_key, Some(value))])
        }
        2 => {
            // The highest value in four bytes that may be a count.
            let at = chance.below(value.len() as u64) as usize;
            value[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
            (format!("row {index} with a huge number at {at}"), vec![(key, Some(value))])
        }
        3 => {
            value.truncate(chance.below(value.len() as u64) as usize);
            (format!("row {index} cut"), vec![(key, Some(value))])
        }
        4 => ("noise in the place of a row".into(), vec![(key, Some(noise))]),
        5 => {
            let mut at = key.clone();
            let last = at.len() - 1;
            at[last] ^= 1 << chance.below(8);
            (format!("row {index} with another key"), vec![(key, None), (at, Some(value))])
        }
        6 => {
            let mut at = key;
            at.push(0);
            (format!("row {index} twice"), vec![(at, Some(value))])
        }
        _ => {
            let at = chance.below(value.len() as u64) as usize;
            value[at] ^= 1 << chance.below(8);
            (format!("row {index} with another bit at {at}"), vec![(key, Some(value))])
        }
    }
}
