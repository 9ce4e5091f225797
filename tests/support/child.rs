//! Instances in their own processes, which can be killed and stopped.
//!
//! A test program starts itself again with only its test `child`, and environment variables that
//! say what to run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headwater::{App, Config, Topology};
use tracing_subscriber::filter::LevelFilter;

const CONFIG: &str = "HEADWATER_TEST_CHILD";
const APPLICATION: &str = "HEADWATER_TEST_APPLICATION";

/// An instance in its own process; killed when dropped.
pub struct Instance {
    id: String,
    config: Config,
    child: Child,
}

/// Where an instance with this state directory writes what it logs.
fn log_of(state_dir: &Path) -> PathBuf {
    state_dir.with_extension("log")
}

impl Instance {
    /// Starts one of the application `id`, with its own state directory.
    pub fn start(id: &str, config: &Config, state_dir: &Path) -> Self {
        let config = Config { state_dir: Some(state_dir.to_owned()), ..config.clone() };
        let child = spawn(id, &config);
        Self { id: id.to_owned(), config, child }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Restarts it after [`kill`](Self::kill), with the same state directory.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.id, &self.config);
    }

    /// Restarts it; it kills itself when it reaches a step for the `times`th time.
    pub fn start_again_until(&mut self, failpoint: &str, times: u64) {
        let value = format!("{failpoint}:{times}");
        self.child = spawn_with(&self.id, &self.config, &[("HEADWATER_FAILPOINT", &value)]);
    }

    /// `SIGTERM`, without waiting for the end.
    pub fn ask_to_stop(&self) {
        signal(&self.child, "TERM");
    }

    /// `SIGSTOP`: alive, and silent.
    pub fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// `SIGCONT`.
    pub fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// `SIGTERM`, and whether it ended with success.
    pub fn stop(mut self) -> bool {
        signal(&self.child, "TERM");
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Everything that it has logged, in all its runs.
    pub fn log(&self) -> String {
        let path = self.config.state_dir.as_deref().map(log_of);
        path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }

    pub fn state_dir(&self) -> &Path {
        self.config.state_dir.as_deref().expect("given")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(id: &str, config: &Config) -> Child {
    spawn_with(id, config, &[])
}

fn spawn_with(id: &str, config: &Config, variables: &[(&str, &str)]) -> Child {
    let program = std::env::current_exe().expect("this program");
    // Ignore SIGXFSZ, so that a write beyond the limit is an error, as on a full disk. Another
    // process without the limit writes the log.
    let script = "trap '' XFSZ; exec \"$0\" --exact child --nocapture 2> >(exec cat >>\"$1\")";
    let log = config.state_dir.as_deref().map_or(PathBuf::from("/dev/null"), log_of);
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(program).arg(log);
    command.envs(variables.iter().copied());
    command.env(CONFIG, toml(config)).env(APPLICATION, id).stdin(Stdio::null());
    command.stdout(Stdio::null());
    command.spawn().expect("a child process")
}

fn toml(config: &Config) -> String {
    // `Config` renders as TOML without the values of Kafka properties; tests set none.
    format!("{config:?}")
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
}

/// The body of the test `child`: runs an application until it is told to stop. In the test run
/// itself it does nothing.
pub fn run_child(topology: impl FnOnce(&str) -> Topology) {
    run_child_with(topology, |_, _| ());
}

/// [`run_child`] for an application whose configuration has values that its rendering leaves out.
pub fn run_child_with(
    topology: impl FnOnce(&str) -> Topology,
    configure: impl FnOnce(&str, &mut Config),
) {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let id = std::env::var(APPLICATION).expect("the parent's application");
    let mut config = Config::from_toml(&config).expect("the parent's configuration");
    configure(&id, &mut config);
    let is_asked = std::env::var_os("HEADWATER_DEBUG").is_some();
    let level = if is_asked { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let logging = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
    logging.with_max_level(level).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .expect("a runtime")
        .block_on(App::new(topology(&id), config).run(headwater::shutdown_signal()));
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// Random enough: moments that differ from run to run.
pub fn random_pause(at_most: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(random % u64::try_from(at_most.as_millis()).unwrap_or(1).max(1))
}
