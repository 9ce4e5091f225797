//! Any text in a configuration file is a configuration, which can be printed and used, or an error.
//! It never panics, and neither the configuration nor the error shows a password.

use std::time::{Duration, Instant};

use headwater_runtime::Config;

/// How long the test runs, unless `HEADWATER_FUZZ_SECONDS` is set.
const SECONDS: u64 = 3;

const PASSWORD: &str = "correct-horse";

const VALID: &str = r#"
broker = "kafka://127.0.0.1:9092"
guarantee = "at-least-once"
commit_interval = "50ms"
worker_threads = 2
state_dir = "state"
tables = "rocksdb"
instance_id = "7"
session_timeout = "10s"
heartbeat_interval = "500ms"
transaction_timeout = "1m"
memory = "64MiB"
replication = 3
topology_changes = "accept"
poll_records_max = 2000

[kafka]
transactions = "v1"

[kafka.common]
"sasl.username" = "ann"
"sasl.password" = "correct-horse"

[kafka.producer]
"ssl.key.password" = "correct-horse"
"#;

const PIECES: [&str; 24] = [
    "\"",
    "'",
    "=",
    "\n",
    "[",
    "]",
    ".",
    "{",
    "}",
    "#",
    "\\",
    "\u{0}",
    "é",
    "-",
    "18446744073709551615",
    "9223372036854775807",
    "h",
    "ms",
    "GiB",
    "1e400",
    "nan",
    "true",
    "[kafka.common]\n",
    "0",
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}

fn damaged(dice: &mut Dice) -> String {
    let mut text: Vec<char> = VALID.chars().collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(text.len() + 1);
        match dice.below(5) {
            0 if at < text.len() => drop(text.remove(at)),
            1 => text.truncate(at),
            2 => {
                let end = at + dice.below(text.len() - at + 1).min(12);
                text.drain(at..end);
            }
            3 => {
                let end = at + dice.below(text.len() - at + 1).min(30);
                let again = text[at..end].to_vec();
                let to = dice.below(text.len());
                // A password that is copied to where a name stands would be shown as a name.
                let words: String = again.iter().collect();
                if !["hors", "orse"].iter().any(|part| words.contains(part)) {
                    text.splice(to..to, again);
                }
            }
            _ => {
                let piece = PIECES[dice.below(PIECES.len())];
                text.splice(at..at, piece.chars());
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn a_damaged_file_is_a_configuration_or_an_error_without_the_password() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("HEADWATER_FUZZ_SECONDS").unwrap_or(SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds);
    let seeds = number("HEADWATER_SEED").map_or(0..u64::MAX, |seed| seed..seed + 1);
    let mut used = 0;
    for seed in seeds.take_while(|seed| *seed < 100 || Instant::now() < until) {
        let text = damaged(&mut Dice(seed));
        let shown = match Config::from_toml(&text) {
            Ok(config) => {
                used += 1;
                let again = config.clone().with_env().expect("what was read is written");
                assert_eq!(again, config, "HEADWATER_SEED={seed}");
                format!("{config:?} {:?}", config.kafka)
            }
            Err(error) => format!("{error} {error:?}"),
        };
        // Errors quote names, and the damage may have made one of the password.
        let is_name = shown.contains("unknown field") || shown.contains("duplicate key");
        let is_shown = shown.contains("horse") && !is_name && !is_moved(&text);
        assert!(!is_shown, "HEADWATER_SEED={seed}: {shown}\n{text}");
    }
    println!("{used} were configurations");
    assert!(used > 0 || number("HEADWATER_SEED").is_some());
}

/// Whether the damage has moved the password out of the properties.
fn is_moved(text: &str) -> bool {
    let (before, _) = text.split_once("[kafka").unwrap_or((text, ""));
    before.contains("horse")
}

#[test]
fn the_file_is_a_configuration_before_it_is_damaged() {
    let config = Config::from_toml(VALID).expect("valid");
    let shown = format!("{config:?}");
    assert!(shown.contains("ssl.key.password") && !shown.contains(PASSWORD), "{shown}");
}
