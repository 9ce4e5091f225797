//! What is wrong with a topology is said by build(), all of it, in words.

use headwater_streams_core::{
    Builder, Consumed, ErrorPolicy, Hopping, JoinBuffers, JoinWindows, Sliding, Start, Table, Topic,
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
    assert!(problems(app).contains("group_by_key behind an operator that changes the key"));
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
    assert!(problems.contains("t-by-it-repartition is there twice"), "{problems}");
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
    assert!(problems(app).contains("nothing is done with the stream of orders"));
}

#[test]
fn one_topic_with_two_sets_of_options() {
    let app = Builder::new("t");
    app.stream(&orders()).to(&Topic::new("a"));
    app.stream_with(&orders(), Consumed::new().start(Start::Latest)).to(&Topic::new("b"));
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
fn a_table_that_nobody_writes() {
    let app = Builder::new("t");
    let ghosts = Table::<String, u64>::new("ghosts");
    let agent = app.agent("reader", &orders()).reads(&ghosts);
    agent.run(|mut records, _| async move {
        while records.next().await.is_some() {}
        Ok(())
    });
    assert!(problems(app).contains("the table ghosts is used but nobody writes it"));
}

#[test]
fn joins_of_streams_whose_keys_changed() {
    let app = Builder::new("t");
    let (left, right) = (app.stream(&orders()), app.stream(&Topic::<String, i64>::new("right")));
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
fn windows_that_cannot_be() {
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
    let _ = app.global_table_with(&orders(), &Table::new("rows"), policy);
    assert!(problems(app).contains("the global table rows cannot have a dead-letter topic"));
}
