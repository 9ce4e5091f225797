//! build() reports everything that is wrong with a topology, in words.

use headwater_streams_core::codec::Bytes;
use headwater_streams_core::{
    Builder, Codec, CodecError, ErrorPolicy, Hopping, JoinBuffers, JoinWindows, Sliding, Start,
    Table, Topic,
};
use std::time::Duration;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn problems(app: Builder) -> String {
    app.build().err().expect("must not build").to_string()
}

#[test]
fn a_key_change_without_repartition() {
    let app = Builder::new("t");
    let counts = Table::new("counts");
    let changed = app.stream(&orders()).map(|key, value| (format!("{key}!"), value));
    changed.group_by_key().count(&counts).to(&Topic::new("out"));
    assert!(problems(app).contains("group_by_key after an operator that changes the key"));
}

#[test]
fn two_writers_of_a_table_and_the_same_repartition_name_twice() {
    let app = Builder::new("t");
    let counts = Table::new("counts");
    for _ in 0..2 {
        let grouped = app.stream(&orders()).group_by("by-it", |key: &String, _| key.clone());
        grouped.count(&counts).to(&Topic::new("out"));
    }
    let problems = problems(app);
    assert!(problems.contains("the table counts has two writers"), "{problems}");
    assert!(problems.contains("t-by-it-repartition is used twice"), "{problems}");
}

#[test]
fn names_that_no_topic_could_have() {
    let app = Builder::new("my app");
    app.stream(&orders()).group_by_key().count(&Table::new("")).to(&Topic::new("a/b"));
    let problems = problems(app);
    for part in ["\"my app\" has characters", "the table \"\" is empty", "\"a/b\" has characters"] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn nothing_to_do() {
    assert!(problems(Builder::new("t")).contains("it has no source"));
    let app = Builder::new("t");
    let _ = app.stream(&orders());
    assert!(problems(app).contains("the stream of orders is never used"));
}

#[test]
fn one_topic_with_two_sets_of_options() {
    let app = Builder::new("t");
    app.stream(&orders()).to(&Topic::new("a"));
    app.stream(orders().consumed().start(Start::Latest)).to(&Topic::new("b"));
    assert!(problems(app).contains("orders is consumed with different options"));
}

#[test]
fn windows_without_length() {
    use headwater_streams_core::Tumbling;
    let app = Builder::new("t");
    let windows = Tumbling::of(Duration::from_micros(10));
    let grouped = app.stream(&orders()).group_by_key().window(windows);
    grouped.count(&Table::new("counts")).closed().map(|w, n| (w.key, n)).to(&Topic::new("out"));
    assert!(problems(app).contains("windows of the table counts are shorter than 1 ms"));
}

#[test]
fn a_table_without_a_writer() {
    let app = Builder::new("t");
    let ghosts = Table::<String, u64>::new("ghosts");
    let agent = app.agent("reader", &orders()).reads(&ghosts);
    agent.run(|mut records, _| async move {
        while records.next().await.is_some() {}
        Ok(())
    });
    assert!(problems(app).contains("the table ghosts is read, but nothing writes it"));
}

#[test]
fn invalid_ttls() {
    use headwater_streams_core::Tumbling;
    let app = Builder::new("t");
    let second = Duration::from_secs(1);
    let grouped = || app.stream(&orders()).group_by_key();
    let table = |name: &str| Table::<String, u64>::new(name);
    grouped().count(&table("short").ttl(second / 2_000));
    grouped().window(Tumbling::of(second)).count(&table("windows").ttl(second));
    app.global_table(&Topic::new("codes"), &table("codes").ttl(second));
    grouped().count(&table("kept"));
    grouped().count(&table("seen").ttl(second));
    let process = app.stream(&orders()).process::<String, i64>("p");
    // A reader need not give it.
    let process = process.reads(&table("kept").ttl(second)).reads(&table("seen"));
    let process = process.reads(&table("seen").ttl(2 * second));
    process.each(|order, cx| cx.forward(order)).to(&Topic::new("out"));
    let problems = problems(app);
    for part in [
        "the ttl of the table short must be at least 1 ms",
        "the table windows cannot have a ttl: its windows have a retention instead",
        "the table codes cannot have a ttl: it has what its topic has",
        "the processor p reads the table kept with a ttl of 1000 ms, but its writer has no ttl",
        "the table seen with a ttl of 2000 ms, but its writer has a ttl of 1000 ms",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    assert_eq!(problems.matches("reads the table").count(), 2, "{problems}");
}

#[test]
fn joins_of_streams_whose_keys_changed() {
    let app = Builder::new("t");
    let left = app.stream(&orders());
    let right = app.stream(&Topic::<String, i64>::new("right"));
    let changed = left.select_key(|key, _| format!("{key}!"));
    let windows = JoinWindows::within(Duration::from_secs(1));
    changed.join(right, windows, &JoinBuffers::json("pairs"), |_, a, b| a + b).to(&Topic::<
        String,
        i64,
    >::new(
        "out"
    ));
    let problems = problems(app);
    assert!(problems.contains("join") && problems.contains("repartition(name)"), "{problems}");
}

#[test]
fn joins_of_tables_whose_streams_changed_the_key() {
    let app = Builder::new("t");
    let rows = app.table(&Topic::<String, i64>::new("rows"), &Table::new("rows"));
    let changed = app.stream(&orders()).select_key(|key, _| format!("{key}!"));
    changed.join_table(&rows, |_, a, b| a + b).to(&Topic::<String, i64>::new("out"));
    let problems = problems(app);
    assert!(problems.contains("join_table") && problems.contains("repartition("), "{problems}");
}

#[test]
fn invalid_windows() {
    let ms = Duration::from_millis;
    let app = Builder::new("t");
    let grouped = || app.stream(&orders()).group_by_key();
    let _ = grouped().window(Sliding::of(ms(0))).count(&Table::new("sliding")).updates();
    let _ = grouped().window(Hopping::of(ms(10), ms(11))).count(&Table::new("hopping")).updates();
    let problems = problems(app);
    assert!(problems.contains("have a difference below 1 ms"), "{problems}");
    assert!(problems.contains("advance by more than their size"), "{problems}");
}

#[test]
fn a_global_table_with_a_dead_letter_topic() {
    let app = Builder::new("t");
    let policy = ErrorPolicy::dead_letter("letters");
    let _ = app.global_table(orders().consumed_rows().on_error(policy), &Table::new("rows"));
    assert!(problems(app).contains("the global table rows cannot have a dead-letter topic"));
}

#[test]
fn a_global_table_that_begins_late() {
    let app = Builder::new("t");
    let rows = orders().consumed_rows().start(Start::Latest);
    let _ = app.global_table(rows, &Table::new("rows"));
    assert!(problems(app).contains("the global table rows is read whole and has no time"));
}

#[test]
fn one_topic_as_two_types() {
    let app = Builder::new("t");
    app.stream(&Topic::<String, String>::new("orders")).to(&Topic::new("out"));
    let numbers = app.stream(&Topic::<u64, u64>::new("orders"));
    numbers.select_key(|key, _| key.to_string()).to(&Topic::new("out"));
    let problems = problems(app);
    let keys = "the keys of the topic orders are String (UTF-8 text) for the stream that is read, \
                and u64 (u64) for the stream that is read";
    assert!(problems.contains(keys), "{problems}");
    let out = "the values of the topic out are String (UTF-8 text) for the stream that is sent, \
               and u64 (u64)";
    assert!(problems.contains(out), "{problems}");
}

#[test]
fn one_topic_as_two_types_by_agents_and_global_tables() {
    let app = Builder::new("t");
    let _ = app.global_table(&Topic::<String, i64>::json("rates"), &Table::new("rates"));
    let agent = app.agent("reader", &orders()).sends(&Topic::<String, i64>::new("rates"));
    agent.run(|mut records, _| async move {
        while records.next().await.is_some() {}
        Ok(())
    });
    app.stream(&Topic::<String, u64>::new("orders")).to(&Topic::new("out"));
    let problems = problems(app);
    for part in [
        "rates are Option<i64> (JSON) for the global table rates, and i64 (i64) for the",
        "orders are i64 (i64) for the agent reader, and u64 (u64) for the stream that is read",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn one_table_with_two_types_of_values() {
    let app = Builder::new("t");
    let grouped = app.stream(&orders()).group_by_key();
    grouped.count(&Table::new("counts")).to(&Topic::new("out"));
    let agent = app.agent("reader", &orders()).reads(&Table::<String, String>::new("counts"));
    agent.run(|mut records, _| async move {
        while records.next().await.is_some() {}
        Ok(())
    });
    let problems = problems(app);
    let values = "the values of the table counts are u64 (u64) for count, and String (UTF-8 text) \
                  for the agent reader";
    assert!(problems.contains(values), "{problems}");
}

/// Writes numbers in a format of the user's own.
struct Own;

impl<T: std::str::FromStr + ToString> Codec<T> for Own {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value.to_string().as_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        let text = std::str::from_utf8(bytes.unwrap_or_default()).map_err(CodecError::new)?;
        text.parse().map_err(|_| CodecError::new("no number"))
    }
}

#[test]
fn one_topic_in_two_compatible_ways() {
    let app = Builder::new("t");
    // Views of one JSON document; bytes that are only forwarded; a key that is never read.
    app.stream(&Topic::<String, serde_json::Value>::json("a")).to(&Topic::json("out"));
    app.stream(&Topic::<String, Vec<String>>::json("a")).to(&Topic::json("other-out"));
    app.stream(&Topic::<(), Vec<u8>>::new("a")).to(&Topic::new("out"));
    // A table of a topic, and its changes into it, with tombstones.
    let rows = app.table(&Topic::<String, i64>::new("rows"), &Table::new("rows"));
    rows.to_stream().to(&Topic::new("rows"));
    // One codec for all types; two codecs for one type whose formats are unknown.
    app.stream(&Topic::<String, i64>::with("b", Bytes, Own)).to(&Topic::with("c", Bytes, Own));
    app.stream(&Topic::<String, u64>::with("b", Bytes, Own)).to(&Topic::new("c-out"));
    app.stream(&Topic::<String, i64>::new("d")).to(&Topic::new("d-out"));
    app.stream(&Topic::<String, i64>::with("d", Bytes, Own)).to(&Topic::new("d-out"));
    app.build().expect("all fit");
}

#[test]
fn a_custom_codec_for_another_type() {
    let app = Builder::new("t");
    app.stream(&Topic::<String, i64>::with("b", Bytes, Own)).to(&Topic::new("i64-out"));
    app.stream(&Topic::<String, u64>::new("b")).to(&Topic::new("u64-out"));
    let problems = problems(app);
    assert!(problems.contains("values of the topic b are i64 (Own) for"), "{problems}");
}

#[test]
fn a_dead_letter_topic_that_is_consumed() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::dead_letter("other"));
    app.stream(orders().consumed().on_error(ErrorPolicy::dead_letter("orders")))
        .to(&Topic::new("out"));
    app.stream(
        Topic::<String, i64>::new("other")
            .consumed()
            .on_error(ErrorPolicy::dead_letter("no topic")),
    )
    .to(&Topic::new("out"));
    let problems = problems(app);
    for part in [
        "the dead-letter topic orders is consumed by the application itself",
        "the dead-letter topic other is consumed by the application itself",
        "the dead-letter topic \"no topic\" has characters",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn topics_that_the_application_would_create() {
    let app = Builder::new("t");
    let count = |stream: &str, name: &str, out: &str| {
        let stream = app.stream(&Topic::<String, i64>::new(stream)).group_by_key();
        stream.count(&Table::new(name)).to(&Topic::new(out));
    };
    count("orders", "a.b", "t-topology");
    count("t-a.b-changelog", "a_b", "t-by-it_repartition");
    let grouped = app.stream(&orders()).group_by("by-it", |key, _| key.clone());
    grouped.count(&Table::new("grouped")).to(&Topic::new("t-c-changelog"));
    count("t-by-it-repartition", &"x".repeat(240), "out");
    let problems = problems(app);
    for part in [
        "the topic t-topology is used as one of yours, but the application would create it as its \
         record of the topology",
        "the topic t-a.b-changelog is used as one of yours, but the application would create it \
         as the changelog of the table a.b",
        "the topics t-a.b-changelog and t-a_b-changelog differ only in '.' and '_'",
        "the topics t-by-it_repartition and t-by-it-repartition",
        "the topic t-by-it-repartition is a repartition topic of the application",
        "a name of 252 characters, and Kafka allows 249",
    ] {
        let is_there = problems.contains(part);
        // Names with '-' instead of '_' do not collide.
        assert_eq!(is_there, !part.contains("t-by-it_repartition"), "{part}: {problems}");
    }
}
