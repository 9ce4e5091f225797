//! The table of a race: medians, and how they compare.

use crate::job::JOBS;
use crate::run::JobRun;

/// A run must have this many commits, or its figures say little.
const COMMITS_MIN: f64 = 20.0;

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

struct Column {
    figure: &'static str,
    title: &'static str,
    decimals: usize,
    better: Better,
}

const fn more(figure: &'static str, title: &'static str) -> Column {
    Column { figure, title, decimals: 0, better: Better::More }
}

const fn less(figure: &'static str, title: &'static str, decimals: usize) -> Column {
    Column { figure, title, decimals, better: Better::Less }
}

/// The figures of the table; the raw results have more.
const COLUMNS: [Column; 17] = [
    more("records_per_s", "records/s"),
    more("records_per_cpu_s", "records/CPU-s"),
    less("memory_mib", "peak memory, MiB", 0),
    less("broker_cpu_us_per_record", "broker's CPU, us/record", 2),
    less("others_percent", "others' share of the machine, %", 0),
    less("p50_ms", "latency p50, ms", 1),
    less("p90_ms", "latency p90, ms", 1),
    less("p99_ms", "latency p99, ms", 1),
    less("max_ms", "latency max, ms", 1),
    less("changelog_records", "changelog records", 0),
    less("first_answer_s", "first answer, s", 2),
    less("all_answers_s", "all answers, s", 2),
    less("cpu_s", "CPU, s", 1),
    less("first_start_ms", "first start, less the join, ms", 0),
    less("start_again_ms", "later start, less the join, ms", 0),
    more("kills", "kills while at work"),
    less("idle_percent", "idle, % of a core", 2),
];

pub(crate) fn print(runs: &[JobRun]) {
    println!("| job | figure | peer | median | min..max | x floor | x Kafka Streams | valid |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for line in lines(runs) {
        println!("{line}");
    }
    let short = too_short(runs);
    if !short.is_empty() {
        println!("\nNOT TO BE QUOTED, measured for less than {COMMITS_MIN} commits:");
        println!("{}", short.join("; "));
    }
}

/// Rows with a run that was over too soon. When a commit is seen, its program is already at work
/// on the next, and the time of that work is not counted: an error of one commit, by which a
/// program looks cheaper than it is.
fn too_short(runs: &[JobRun]) -> Vec<String> {
    let is_short = |run: &&JobRun| {
        let least = COMMITS_MIN * if run.guarantee == "eos" { 0.1 } else { 1.0 };
        run.figures.get("measured_s").is_some_and(|measured| *measured < least)
    };
    let mut rows: Vec<String> = Vec::new();
    for run in runs.iter().filter(is_short) {
        let row = format!("{} {}", run.job, run.peer);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

fn lines(runs: &[JobRun]) -> Vec<String> {
    let mut lines = Vec::new();
    for job in &JOBS {
        let peers = peers(runs, job.name);
        for column in &COLUMNS {
            for peer in &peers {
                lines.extend(line(runs, job.name, column, peer));
            }
        }
        // Without a single right run there is no figure to show.
        let fallen = peers.iter().filter(|peer| figures(runs, job.name, peer, None).is_empty());
        for peer in fallen {
            let valid = valid(runs, job.name, peer);
            lines.push(format!("| {} | | {peer} | | | | | {valid} |", job.name));
        }
    }
    lines
}

/// In the order in which they ran.
fn peers<'a>(runs: &'a [JobRun], job: &str) -> Vec<&'a str> {
    let mut peers: Vec<&str> = Vec::new();
    for run in runs.iter().filter(|run| run.job == job) {
        if !peers.contains(&run.peer.as_str()) {
            peers.push(&run.peer);
        }
    }
    peers
}

/// A figure of all right runs, sorted; of all figures none in particular: as many as there are.
fn figures(runs: &[JobRun], job: &str, peer: &str, figure: Option<&str>) -> Vec<f64> {
    let right = |run: &&JobRun| run.job == job && run.peer == peer && run.complaint.is_none();
    let of = |run: &JobRun| match figure {
        Some(figure) => run.figures.get(figure).copied(),
        None => Some(0.0),
    };
    let mut figures: Vec<f64> = runs.iter().filter(right).filter_map(of).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { *upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

fn line(runs: &[JobRun], job: &str, column: &Column, peer: &str) -> Option<String> {
    let sorted = figures(runs, job, peer, Some(column.figure));
    let middle = median(&sorted)?;
    let number = |number: f64| with_commas(number, column.decimals);
    let against = |other: Option<f64>| match other {
        Some(other) if other > 0.0 => format!("{:.2}", middle / other),
        _ => "-".to_owned(),
    };
    Some(format!(
        "| {job} | {} | {peer} | {} | {}..{} | {} | {} | {} |",
        column.title,
        number(middle),
        number(sorted[0]),
        number(sorted[sorted.len() - 1]),
        against(floor(runs, job, column)),
        against(kafka_streams(runs, job, column)),
        valid(runs, job, peer),
    ))
}

/// The floor's median. If a floor parses as all programs do, it is that one's. J3 and J4 have no
/// floor and are compared with that of J2.
fn floor(runs: &[JobRun], job: &str, column: &Column) -> Option<f64> {
    let job = if ["J3", "J4"].contains(&job) { "J2" } else { job };
    let of = |peer| median(&figures(runs, job, peer, Some(column.figure)));
    of("floor, parsing").or_else(|| of("floor"))
}

/// The median of the better row of Kafka Streams.
fn kafka_streams(runs: &[JobRun], job: &str, column: &Column) -> Option<f64> {
    let theirs = peers(runs, job).into_iter().filter(|peer| peer.starts_with("kafka-streams"));
    let medians = theirs.filter_map(|peer| median(&figures(runs, job, peer, Some(column.figure))));
    match column.better {
        Better::More => medians.max_by(f64::total_cmp),
        Better::Less => medians.min_by(f64::total_cmp),
    }
}

fn valid(runs: &[JobRun], job: &str, peer: &str) -> String {
    let all = runs.iter().filter(|run| run.job == job && run.peer == peer).count();
    format!("{}/{all}", figures(runs, job, peer, None).len())
}

fn with_commas(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Figures;

    fn run(job: &'static str, peer: &str, rate: f64, complaint: Option<&str>) -> JobRun {
        JobRun {
            job,
            guarantee: "eos".to_owned(),
            peer: peer.to_owned(),
            records: 1,
            at_ms: 0,
            complaint: complaint.map(str::to_owned),
            figures: Figures::from([("records_per_s", rate)]),
        }
    }

    #[test]
    fn medians_are_held_against_the_floor_and_the_better_kafka_streams() {
        let runs = [
            run("J1", "headwater", 300.0, None),
            run("J1", "floor", 600.0, None),
            run("J1", "kafka-streams, 1 thread", 100.0, None),
            run("J1", "kafka-streams, 2 threads", 150.0, None),
            run("J1", "headwater", 1_500.0, None),
            run("J1", "headwater", 200.0, None),
        ];
        let line = &lines(&runs)[0];
        assert_eq!(line, "| J1 | records/s | headwater | 300 | 200..1,500 | 0.50 | 2.00 | 3/3 |");
    }

    #[test]
    fn a_wrong_run_has_no_figure_but_is_counted() {
        let runs = [
            run("J2", "headwater", 300.0, None),
            run("J2", "headwater", 900.0, Some("1 wrong record")),
            run("J2", "floor", 900.0, Some("1 wrong record")),
        ];
        assert_eq!(
            lines(&runs),
            [
                "| J2 | records/s | headwater | 300 | 300..300 | - | - | 1/2 |",
                "| J2 | | floor | | | | | 0/1 |",
            ]
        );
    }

    #[test]
    fn a_run_of_few_commits_is_named() {
        let mut long = run("J1", "floor", 1.0, None);
        long.figures.insert("measured_s", 2.1);
        let mut short = run("J1", "headwater", 1.0, None);
        short.figures.insert("measured_s", 1.9);
        assert_eq!(too_short(&[long, short]), ["J1 headwater"]);
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(with_commas(1_234_567.4, 0), "1,234,567");
        assert_eq!(with_commas(999.994, 2), "999.99");
        assert_eq!(with_commas(1_000.0, 1), "1,000.0");
    }
}
