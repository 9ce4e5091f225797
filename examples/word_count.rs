//! The first program of the README: counts words, exactly once, on a log in this process.
//!
//! `cargo run --release --example word_count --no-default-features --features embedded`

use std::time::Duration;

use headwater::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words = Topic::<String, String>::new("words");
    let counts = Topic::<String, u64>::json("counts");

    let app = Builder::new("word-count");
    app.stream(&words)
        .group_by("by-word", |_, word| word.to_lowercase())
        .count(&Table::new("words-seen"))
        .to(&counts);
    let topology = app.build()?;

    let config = Config { broker: "embedded:".to_owned(), ..Config::default() };
    let client = headwater::client(&config)?;
    client.create_topic("words", 4)?;
    client.create_topic("counts", 4)?;
    let app = App::new(topology, config);
    let running = tokio::spawn(app.run(tokio::time::sleep(Duration::from_secs(3))));

    let mut writer = client.writer()?;
    for (second, word) in "To be or not to be".split(' ').enumerate() {
        writer.send(&words, &"hamlet".to_owned(), &word.to_owned(), second as i64 * 1000)?;
    }
    writer.flush()?;

    running.await??;
    for read in client.reader(&counts)?.read_to_end()? {
        println!("{}: {}", read.record.key, read.record.value);
    }
    Ok(())
}
