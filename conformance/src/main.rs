//! `conformance [--basis NAME] [--case ID] FILE...`: replays cases and prints the results.

use std::process::ExitCode;

use conformance::case::{self, Case};
use conformance::replay::Peace;
use conformance::report::{Report, judge, side_by_side};

const USAGE: &str = "usage: conformance [--basis rules|kafka] [--case ID] FILE...";

#[derive(Default)]
struct Options {
    basis: Option<String>,
    case: Option<String>,
    files: Vec<String>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic is reported with its case.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::default();
    let mut shown = false;
    for file in &options.files {
        let cases = match case::read(file) {
            Ok(cases) => cases,
            Err(error) => {
                report.add_unreadable(&error);
                continue;
            }
        };
        for case in cases.iter().filter(|case| options.wants(case)) {
            let verdict = judge(case, &mut Peace);
            if options.case.is_some() {
                print!("{}", side_by_side(case, &verdict));
                shown = true;
            }
            report.add(case, &verdict);
        }
    }
    if let (Some(id), false) = (&options.case, shown) {
        eprintln!("no case is called {id}");
        return ExitCode::from(2);
    }
    println!("{report}");
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        self.basis.as_ref().is_none_or(|basis| *basis == case.basis)
            && self.case.as_ref().is_none_or(|id| *id == case.id)
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--basis" => options.basis = Some(value()?),
            "--case" => options.case = Some(value()?),
            "--help" | "-h" => return Err("replays semantics cases".to_owned()),
            flag if flag.starts_with("--") => return Err(format!("{flag} is not known")),
            file => options.files.push(file.to_owned()),
        }
    }
    if options.files.is_empty() { Err("no file is named".to_owned()) } else { Ok(options) }
}
