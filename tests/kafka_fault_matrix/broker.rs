//! Brokers that can be killed, and Kafka's own consumer.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater::Config;

/// Ports that a node takes: for clients, for its controller, and for those who log in.
const PORTS_OF_A_NODE: u16 = 3;

pub struct Broker {
    first_port: u16,
    nodes: u16,
    /// The node to fail next.
    turn: u16,
}

impl Broker {
    /// Starts this many nodes; three keep three replicas of everything.
    pub fn start(nodes: u16) -> Self {
        Self::start_with(nodes, "")
    }

    /// The same with more lines of configuration.
    pub fn start_with(nodes: u16, properties: &str) -> Self {
        let broker = Self { first_port: free_port(nodes), nodes, turn: 0 };
        let mut start = script(broker.first_port, &["start"], nodes);
        run(start.env("HEADWATER_KAFKA_PROPERTIES", properties));
        broker
    }

    pub fn config(&self) -> Config {
        let hosts: Vec<_> =
            (0..self.nodes).map(|node| format!("127.0.0.1:{}", self.port(node))).collect();
        Config { broker: format!("kafka://{}", hosts.join(",")), ..Config::default() }
    }

    /// `kill -9` of the next node. A large process takes a while to exit and free its port.
    pub fn kill(&mut self) {
        self.turn = (self.turn + 1) % self.nodes;
        self.signal("KILL");
        let until = Instant::now() + Duration::from_secs(20);
        let port = self.port(self.turn);
        while TcpStream::connect(("127.0.0.1", port)).is_ok() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Restarts the killed node with its data.
    pub fn start_again(&self) {
        run(&mut script(self.port(self.turn), &["start", "--keep"], 1));
    }

    /// Freezes the next node until [`Self::thaw`].
    pub fn freeze(&mut self) {
        self.turn = (self.turn + 1) % self.nodes;
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// The keys and values of a topic's committed records, read by Kafka's own console consumer.
    pub fn consume(&self, topic: &str, count: u64) -> Vec<(String, String)> {
        let output = Command::new("bash")
            .args(["scripts/kafka.sh", "consume", topic, "--timeout-ms", "15000"])
            // One more than expected, so that it waits for records that should not exist.
            .args(["--max-messages", &(count + 1).to_string()])
            .env("HEADWATER_KAFKA_PORT", self.first_port.to_string())
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

    /// Kafka's descriptions of all transactions, of those that hang for a minute without their
    /// coordinator's knowledge, and of the producers of a partition.
    pub fn print_transactions(&self, topic: &str, partition: i32) {
        self.tell(&["transactions"]);
        self.tell(&["transactions", "1"]);
        self.tell(&["transactions", topic, &partition.to_string()]);
    }

    /// The broker's log lines about transactions without their markers.
    pub fn print_skipped_markers(&self) {
        for node in 0..self.nodes {
            for log in ["before.log", "out.log"] {
                let log = format!(".headwater/kafka/{}/{log}", self.port(node));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                log.lines().filter(|line| line.contains("can be skipped")).for_each(|line| {
                    println!("the broker: {line}");
                });
            }
        }
    }

    fn tell(&self, arguments: &[&str]) {
        let output = Command::new("bash")
            .arg("scripts/kafka.sh")
            .args(arguments)
            .env("HEADWATER_KAFKA_PORT", self.first_port.to_string())
            .env("HEADWATER_KAFKA_NODES", self.nodes.to_string())
            .output();
        let output = output.expect("bash");
        println!("{arguments:?}\n{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Changes a setting of a topic.
    pub fn configure(&self, topic: &str, setting: &str) {
        self.of_all(&["configure", topic, setting]);
    }

    fn port(&self, node: u16) -> u16 {
        self.first_port + PORTS_OF_A_NODE * node
    }

    fn signal(&self, name: &str) {
        let pid = format!(".headwater/kafka/{}/pid", self.port(self.turn));
        let pid = std::fs::read_to_string(pid).expect("it was started");
        let done = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(done.expect("kill").success(), "kill -{name} {pid}");
    }

    fn of_all(&self, arguments: &[&str]) {
        run(&mut script(self.first_port, arguments, self.nodes));
    }
}

fn script(port: u16, arguments: &[&str], nodes: u16) -> Command {
    let mut command = Command::new("bash");
    command
        .arg("scripts/kafka.sh")
        .args(arguments)
        .env("HEADWATER_KAFKA_PORT", port.to_string())
        .env("HEADWATER_KAFKA_NODES", nodes.to_string())
        .stdout(Stdio::null());
    command
}

fn run(command: &mut Command) {
    assert!(command.status().expect("bash").success(), "{command:?}");
}

/// Below the ephemeral ports. A client that keeps reconnecting to an unavailable broker would
/// eventually get the broker's own port, and keep the broker from restarting.
fn free_port(nodes: u16) -> u16 {
    let first = 20_000 + (std::process::id() % 4_000) as u16 * 3;
    let is_free = |first: &u16| {
        let mut ports = *first..first + PORTS_OF_A_NODE * nodes;
        ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    (first..32_000).step_by(3).find(is_free).expect("free ports")
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.of_all(&["stop", "--keep"]);
            println!("the broker's data and logs stay in .headwater/kafka/{}", self.first_port);
            return;
        }
        self.of_all(&["stop"]);
        for node in 0..self.nodes {
            let _ = std::fs::remove_dir_all(format!(".headwater/kafka/{}", self.port(node)));
        }
    }
}
