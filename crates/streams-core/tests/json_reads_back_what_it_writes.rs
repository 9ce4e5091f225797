//! JSON reads back what it writes, bit for bit. It refuses what it cannot represent, which is an
//! error of that record only. `None` is a tombstone.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use headwater_streams_core::codec::{Codec, Json};
use headwater_streams_core::{
    Builder, ErrorPolicy, JoinBuffers, JoinWindows, Record, Suppress, Table, Topic,
};
use headwater_testkit::{Dice, TopologyTest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

fn written<T: Serialize + DeserializeOwned>(value: &T) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = b"before".to_vec();
    let is_there = Json.encode(value, &mut bytes).map_err(|error| error.to_string())?;
    assert_eq!(&bytes[..6], b"before");
    assert!(is_there || bytes.len() == 6, "null is written as nothing");
    Ok(is_there.then(|| bytes.split_off(6)))
}

fn read<T: Serialize + DeserializeOwned>(bytes: Option<&[u8]>) -> Result<T, String> {
    Json.decode(bytes).map_err(|error| error.to_string())
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> Option<String> {
    let bytes = written(&value).expect("encodes");
    let back: T = read(bytes.as_deref()).expect("decodes");
    assert_eq!(back, value, "{bytes:?}");
    bytes.map(|bytes| String::from_utf8(bytes).expect("text"))
}

#[test]
fn floats_come_back_bit_for_bit() {
    let mut dice = Dice::new(7);
    let rolled = (0..200_000).map(|_| f64::from_bits(dice.roll()));
    let cents = (0..50_000).map(|n| n as f64 / 100.0 * 1.1);
    let odd = [-0.0, 0.1 + 0.2, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1e23, 9_007_199_254_740_993.0];
    for value in rolled.chain(cents).chain(odd).filter(|value| value.is_finite()) {
        let back: f64 = read(written(&value).expect("encodes").as_deref()).expect("decodes");
        assert_eq!(back.to_bits(), value.to_bits(), "{value:e}");
        let single = value as f32;
        if single.is_finite() {
            let back: f32 = read(written(&single).expect("encodes").as_deref()).expect("decodes");
            assert_eq!(back.to_bits(), single.to_bits(), "{single:e}");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(f64),
    Tuple(f32, u8),
    Struct { side: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    big: (u64, i64, i128, u128),
    by_number: BTreeMap<u64, Option<char>>,
    by_large: BTreeMap<i128, Vec<Shape>>,
    by_kind: BTreeMap<bool, Wrapped<String>>,
    bytes: Vec<u8>,
}

#[test]
fn extremes_come_back() {
    comes_back(Named {
        big: (u64::MAX, i64::MIN, i128::MIN, u128::MAX),
        by_number: BTreeMap::from([(0, None), (u64::MAX, Some('\u{10ffff}'))]),
        by_large: BTreeMap::from([
            (i128::MIN, vec![Shape::Unit, Shape::Newtype(-0.0), Shape::Tuple(1e-45, 255)]),
            (i128::MAX, vec![Shape::Struct { side: 1e-7 }]),
        ]),
        by_kind: BTreeMap::from([(true, Wrapped("\0\"\\\u{7f}é\u{2028}".to_owned()))]),
        bytes: vec![0, 255],
    });
}

/// A map whose key is a float.
struct FloatKey(f64);

impl Serialize for FloatKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map([(self.0, 1)])
    }
}

impl<'de> Deserialize<'de> for FloatKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, i32>::deserialize(from)?;
        let key = map.keys().next().and_then(|key| key.parse().ok());
        key.map(Self).ok_or_else(|| serde::de::Error::custom("no float"))
    }
}

#[test]
fn numbers_that_json_cannot_represent_are_refused_everywhere() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = [
            written(&bad),
            written(&(bad as f32)),
            written(&vec![1.0, bad]),
            written(&Some(bad)),
            written(&(1, bad as f32)),
            written(&BTreeMap::from([(1, bad)])),
            written(&FloatKey(bad)),
            written(&Wrapped(Some(vec![bad]))),
            written(&Shape::Newtype(bad)),
            written(&Shape::Tuple(bad as f32, 1)),
            written(&vec![Shape::Struct { side: bad }]),
        ];
        for (case, result) in refused.into_iter().enumerate() {
            let error = result.expect_err("refused");
            assert!(error.contains(&format!("JSON has no number for {bad}")), "{case}: {error}");
        }
    }
    assert_eq!(written(&FloatKey(-0.5)).unwrap().unwrap(), br#"{"-0.5":1}"#);
}

#[test]
fn none_is_null_bytes_and_the_text_null_inside_a_value() {
    assert_eq!(comes_back(None::<i64>), None);
    assert_eq!(comes_back(Wrapped(None::<i64>)), None);
    assert_eq!(comes_back(Box::new(None::<Shape>)), None);
    assert_eq!(comes_back(Some(7)), Some("7".to_owned()));
    assert_eq!(comes_back((None::<i64>,)), Some("[null]".to_owned()));
    // A value with its own null is distinguished from None.
    assert_eq!(comes_back(None::<Option<i64>>), None);
    assert_eq!(comes_back(Some(None::<i64>)), Some("null".to_owned()));
    assert_eq!(comes_back(Some(())), Some("null".to_owned()));
    assert_eq!(comes_back(None::<()>), None);
    // Types other than Option have no tombstone.
    assert_eq!(comes_back(()), Some("null".to_owned()));
    assert_eq!(comes_back(serde_json::Value::Null), Some("null".to_owned()));
    for refused in [read::<i64>(None).err(), read::<()>(None).err(), read::<Vec<u8>>(None).err()] {
        assert!(refused.expect("refused").contains("null where a value is needed"));
    }
    // The text that other programs write, and that earlier versions wrote.
    assert_eq!(read::<Option<i64>>(Some(b"null")), Ok(None));
    assert_eq!(read::<Option<Shape>>(Some(b" null ")), Ok(None));
    assert!(read::<i64>(Some(b"null")).is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

fn nested(levels: usize) -> Nested {
    (1..levels).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]))
}

#[test]
fn values_that_are_nested_too_deep_to_be_read_are_not_written() {
    comes_back(nested(127));
    assert!(written(&nested(128)).unwrap_err().contains("more than 127 levels deep"));
    let deep = "[".repeat(100_000);
    assert!(read::<Nested>(Some(deep.as_bytes())).is_err());
    assert!(read::<serde_json::Value>(Some(deep.as_bytes())).is_err());
}

fn numbers() -> Topic<String, f64> {
    Topic::new("numbers")
}

fn send(test: &mut TopologyTest, key: &str, value: f64, seconds: i64) {
    let record = Record::new(key.to_owned(), value, seconds * 1000);
    test.send_record(&numbers(), record).expect("processed");
}

#[test]
fn in_tables_buffers_and_joins_only_the_responsible_record_fails() {
    let sums = Topic::<String, f64>::new("sums");
    let slow = Topic::new("slow");
    let joined = Topic::<String, f64>::new("joined");
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let numbers = app.stream(&numbers()).shared();
    let sum = |sum: f64, number: f64| sum + number;
    numbers.clone().group_by_key().reduce(&Table::json("sum"), sum).updates().to(&sums);
    let latest = numbers.clone().to_table(&Table::new("latest"));
    let limit = Suppress::until_time_limit(Duration::from_secs(5));
    latest.suppress(limit, "held").to_stream().flat_map_values(|value| value).to(&slow);
    let windows = JoinWindows::within(Duration::from_secs(1));
    let buffers = JoinBuffers::json("pairs");
    let join = |_: &String, left: &f64, right: &f64| left + right;
    numbers.clone().join(numbers, windows, &buffers, join).to(&joined);
    let mut test = TopologyTest::new(app.build().expect("valid"));

    for (second, value) in [1.0, f64::INFINITY, 2.0, f64::NAN, 4.0].into_iter().enumerate() {
        send(&mut test, "k", value, second as i64 * 10);
    }
    let values = |records: Vec<(String, f64)>| records.into_iter().map(|r| r.1).collect::<Vec<_>>();
    assert_eq!(values(test.take(&sums).unwrap()), [1.0, 3.0, 7.0]);
    assert_eq!(values(test.take(&slow).unwrap()), [2.0]);
    assert_eq!(values(test.take(&joined).unwrap()), [2.0, 4.0, 8.0]);
    assert_eq!(test.metrics().skipped, 2);
    assert!(test.failed()[0].contains("offset 1") && test.failed()[1].contains("offset 3"));
    assert!(test.failed()[0].contains("JSON has no number for inf"), "{:?}", test.failed());
}

#[test]
fn an_absent_value_is_a_tombstone_of_topics_and_tables() {
    let input = numbers();
    let output = Topic::<String, Option<f64>>::json("output");
    let lasts = Table::<String, Option<f64>>::json("lasts");
    let app = Builder::new("t");
    let stream = app.stream(&input).shared();
    stream.clone().map_values(|n| (n >= 0.0).then_some(n)).to(&output);
    let last = |last: &mut Option<f64>, _: &String, n| *last = (n >= 0.0).then_some(n);
    stream.group_by_key().aggregate(&lasts, || None, last);
    app.table(&output, &Table::<String, Option<f64>>::new("read-back"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    send(&mut test, "k", 1.5, 1);
    assert_eq!(test.table(&lasts, &"k".to_owned()).unwrap(), Some(Some(1.5)));
    send(&mut test, "k", -1.5, 2);
    assert_eq!(test.table(&lasts, &"k".to_owned()).unwrap(), None);
    let values: Vec<_> = test.take_raw("output").into_iter().map(|record| record.value).collect();
    assert_eq!(values, [Some(b"1.5"[..].into()), None]);
    let changelog = test.take_raw("t-lasts-changelog");
    assert_eq!(changelog.last().expect("deleted").value, None);
}
