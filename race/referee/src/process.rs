//! The programs of the race: started, stopped, and looked at from outside, in `/proc`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// In a second, of the times in `/proc`, on every processor that the race runs on.
const TICKS: f64 = 100.0;
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A running program. Dropped, it is killed.
pub(crate) struct PeerProgram {
    child: Child,
}

impl PeerProgram {
    /// Its output is added to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log: File = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// SIGTERM, and SIGKILL for one that does not heed it.
    pub(crate) fn stop(self) -> Result<()> {
        self.ask_to_stop()?;
        self.stopped()
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn ask_to_stop(&self) -> Result<()> {
        Command::new("kill").arg(self.pid().to_string()).status()?;
        Ok(())
    }

    /// Waits for one that was asked to stop.
    pub(crate) fn stopped(mut self) -> Result<()> {
        let asked = Instant::now();
        while !self.has_ended()? && asked.elapsed() < STOP_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for PeerProgram {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process and all that come from it, those that have ended included.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let processes: HashMap<u32, (u32, f64)> = pids().filter_map(times).collect();
    let descends = |pid: u32| {
        let parent = |pid: &u32| processes.get(pid).map(|(parent, _)| *parent);
        std::iter::successors(Some(pid), parent).any(|ancestor| ancestor == root)
    };
    processes.iter().filter(|(pid, _)| descends(**pid)).map(|(_, (_, seconds))| seconds).sum()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process, its parent, and its times with those of the children it has waited for.
fn times(pid: u32) -> Option<(u32, (u32, f64))> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself have spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some((pid, (fields.get(1)?.parse().ok()?, ticks as f64 / TICKS)))
}

/// Busy seconds of the whole machine.
pub(crate) fn machine_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system; then irq and softirq.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<u64>();
    busy as f64 / TICKS
}

/// The most memory that a process has had resident, in MiB.
pub(crate) fn peak_memory_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_child_that_has_ended_counts() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        let script = format!("sh -c '{busy}'; sleep 60");
        let log = std::env::temp_dir().join(format!("referee-{}.log", std::process::id()));
        let mut app =
            PeerProgram::start(Command::new("sh").args(["-c", &script]), &log).expect("starts");
        let began = Instant::now();
        while cpu_seconds(app.pid()) < 0.1 && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(cpu_seconds(app.pid()) >= 0.1);
        assert!(peak_memory_mib(app.pid()) > 0.1);
        app.kill().expect("is killed");
        fs::remove_file(log).expect("was written");
    }
}
