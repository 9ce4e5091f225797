//! A broker that can be killed, and Kafka's own consumer.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater::Config;

pub struct Broker {
    port: u16,
}

impl Broker {
    pub fn start() -> Self {
        let broker = Self { port: free_port() };
        broker.script(&["start"]);
        broker
    }

    pub fn config(&self) -> Config {
        Config { broker: format!("kafka://127.0.0.1:{}", self.port), ..Config::default() }
    }

    /// `kill -9`. A large process takes its time to be gone, and its port with it.
    pub fn kill(&self) {
        self.signal("KILL");
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Starts it again with what it had.
    pub fn start_again(&self) {
        self.script(&["start", "--keep"]);
    }

    /// What Kafka's own console consumer sees of a topic, committed records only: keys and values.
    pub fn consume(&self, topic: &str, count: u64) -> Vec<(String, String)> {
        let output = Command::new("bash")
            .args(["scripts/kafka.sh", "consume", topic, "--timeout-ms", "15000"])
            // One more than there should be, so that it waits for what should not be there.
            .args(["--max-messages", &(count + 1).to_string()])
            .env("HEADWATER_KAFKA_PORT", self.port.to_string())
            .stderr(Stdio::null())
            .output()
            .expect("the console consumer");
        let text = String::from_utf8(output.stdout).expect("text");
        let parts = |line: &str| {
            let (key, value) = line.split_once('\t').expect("a key and a value");
            (key.to_owned(), value.to_owned())
        };
        text.lines().map(parts).collect()
    }

    /// What Kafka says of all transactions, of those that hang for a minute and whose coordinator
    /// does not know of them, and of the producers of a partition.
    pub fn print_transactions(&self, topic: &str, partition: i32) {
        self.tell(&["transactions"]);
        self.tell(&["transactions", "1"]);
        self.tell(&["transactions", topic, &partition.to_string()]);
    }

    fn tell(&self, arguments: &[&str]) {
        let output = Command::new("bash")
            .arg("scripts/kafka.sh")
            .args(arguments)
            .env("HEADWATER_KAFKA_PORT", self.port.to_string())
            .output();
        let output = output.expect("bash");
        println!("{arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Changes a setting of a topic.
    pub fn configure(&self, topic: &str, setting: &str) {
        self.script(&["configure", topic, setting]);
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(format!(".headwater/kafka/{}/pid", self.port));
        let pid = pid.expect("it was started");
        let done = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(done.expect("kill").success(), "kill -{name} {pid}");
    }

    fn script(&self, arguments: &[&str]) {
        let done = Command::new("bash")
            .arg("scripts/kafka.sh")
            .args(arguments)
            .env("HEADWATER_KAFKA_PORT", self.port.to_string())
            .stdout(Stdio::null())
            .status();
        assert!(done.expect("bash").success(), "{arguments:?}");
    }
}

/// Below the ports that the system gives to whoever connects: a client that connects again and
/// again to a broker that is away would be given the broker's own port some time, and keep it from
/// coming back.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 4_000) as u16 * 3;
    let is_free = |port: &u16| {
        // The controller takes the next one.
        [*port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
    };
    (first..32_000).step_by(3).find(is_free).expect("a free port")
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new("bash")
            .args(["scripts/kafka.sh", "stop"])
            .env("HEADWATER_KAFKA_PORT", self.port.to_string())
            .stdout(Stdio::null())
            .status();
        let _ = std::fs::remove_dir_all(format!(".headwater/kafka/{}", self.port));
    }
}
