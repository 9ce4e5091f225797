//! The instances of one program that share its work, of which some may be killed on the way.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::Result;
use crate::process::{PeerProgram, cpu_seconds, peak_memory_mib};

/// Starts the instance with this number.
type Start<'a> = dyn Fn(usize) -> Result<PeerProgram> + 'a;

pub(crate) struct Instances<'a> {
    start: &'a Start<'a>,
    running: Vec<PeerProgram>,
    /// Processor time of those that were killed.
    killed_cpu_s: f64,
    /// The most memory of each, before the last kill.
    killed_memory_mib: Vec<f64>,
}

impl<'a> Instances<'a> {
    pub(crate) fn start(number: usize, start: &'a Start<'a>) -> Result<Self> {
        let running = (0..number).map(start).collect::<Result<Vec<PeerProgram>>>()?;
        Ok(Self { start, running, killed_cpu_s: 0.0, killed_memory_mib: vec![0.0; number] })
    }

    /// `kill -9` for any of them, which is then started again at once.
    pub(crate) fn kill_one(&mut self) -> Result<()> {
        let victim = (random() * self.running.len() as f64) as usize;
        let pid = self.running[victim].pid();
        self.killed_cpu_s += cpu_seconds(pid);
        let memory = &mut self.killed_memory_mib[victim];
        *memory = memory.max(peak_memory_mib(pid));
        self.running[victim].kill()?;
        self.running[victim] = (self.start)(victim)?;
        Ok(())
    }

    pub(crate) fn has_one_ended(&mut self) -> Result<bool> {
        for app in &mut self.running {
            if app.has_ended()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of all that there were.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let running = self.running.iter().map(|app| cpu_seconds(app.pid()));
        self.killed_cpu_s + running.sum::<f64>()
    }

    /// The most that each has had, summed.
    pub(crate) fn peak_memory_mib(&self) -> f64 {
        let running = self.running.iter().map(|app| peak_memory_mib(app.pid()));
        running.zip(&self.killed_memory_mib).map(|(now, killed)| now.max(*killed)).sum()
    }

    /// `kill -9` for all.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(PeerProgram::kill)
    }

    /// All at once: none takes over from another.
    pub(crate) fn stop(self) -> Result<()> {
        self.running.iter().try_for_each(PeerProgram::ask_to_stop)?;
        self.running.into_iter().try_for_each(PeerProgram::stopped)
    }
}

/// From 0 to 1, different in each run.
pub(crate) fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;

    use super::*;

    #[test]
    fn one_that_is_killed_is_started_again_and_its_time_stays() {
        let log = std::env::temp_dir().join(format!("instances-{}.log", std::process::id()));
        let started = Cell::new(0);
        let start = |_| {
            started.set(started.get() + 1);
            let busy = "i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done; echo; sleep 60";
            PeerProgram::start(Command::new("sh").args(["-c", busy]), &log)
        };
        let mut instances = Instances::start(2, &start).expect("starts");
        while instances.cpu_seconds() < 0.02 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let before = instances.cpu_seconds();
        instances.kill_one().expect("is killed");
        assert_eq!(started.get(), 3);
        assert!(instances.cpu_seconds() >= before);
        assert!(!instances.has_one_ended().expect("is asked"));
        instances.stop().expect("stop");
        std::fs::remove_file(log).expect("was written");
    }
}
