//! Bytes to values and back.

use std::hint::black_box;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use streams_core::codec::{Bytes, Json, Postcard, Text};
use streams_core::{Codec, Natural};
use testkit::Dice;

use crate::workload::{Workload, WorkloadKind};

const VALUES: usize = 1_000;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = VALUES as u64;
    vec![
        WorkloadKind::counted("codecs/json_encode", N, || encode(Arc::new(Json), orders())),
        WorkloadKind::counted("codecs/json_decode", N, || decode(Arc::new(Json), orders())),
        WorkloadKind::counted("codecs/postcard_encode", N, || encode(Arc::new(Postcard), orders())),
        WorkloadKind::counted("codecs/postcard_decode", N, || decode(Arc::new(Postcard), orders())),
        WorkloadKind::counted("codecs/text_encode", N, || encode(Arc::new(Text), numbers())),
        WorkloadKind::counted("codecs/text_decode", N, || decode(Arc::new(Text), numbers())),
        WorkloadKind::counted("codecs/big_endian_encode", N, || encode(u64::codec(), numbers())),
        WorkloadKind::counted("codecs/big_endian_decode", N, || decode(u64::codec(), numbers())),
        WorkloadKind::counted("codecs/string_encode", N, || encode(Arc::new(Bytes), strings())),
        WorkloadKind::counted("codecs/string_decode", N, || decode(Arc::new(Bytes), strings())),
    ]
}

/// An order of a shop, as in the race against other stream processors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// `o-` and a number.
    pub order_id: String,
    /// `c-` and a number.
    pub customer_id: String,
    /// One of ten.
    pub category: String,
    /// In whole cents.
    pub amount: f64,
    /// As text.
    pub timestamp: String,
}

impl Order {
    /// Order number `number`, of one of `customers`.
    pub fn rolled(dice: &mut Dice, number: usize, customers: usize) -> Self {
        Self {
            order_id: format!("o-{number:08}"),
            customer_id: format!("c-{:06}", dice.below(customers)),
            category: format!("category-{}", dice.below(10)),
            amount: dice.below(100_000) as f64 / 100.0,
            timestamp: format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60),
        }
    }
}

fn orders() -> Vec<Order> {
    let mut dice = Dice::new(11);
    (0..VALUES).map(|number| Order::rolled(&mut dice, number, 10_000)).collect()
}

fn numbers() -> Vec<u64> {
    let mut dice = Dice::new(12);
    // Of all lengths as text.
    (0..VALUES).map(|n| dice.roll() >> (n % 64)).collect()
}

fn strings() -> Vec<String> {
    orders().into_iter().map(|order| order.customer_id).collect()
}

fn encode<T: 'static>(codec: Arc<dyn Codec<T>>, values: Vec<T>) -> Box<dyn Workload> {
    let mut out = Vec::new();
    Box::new(move || {
        for value in &values {
            out.clear();
            codec.encode(black_box(value), &mut out).expect("encodes");
            black_box(&out);
        }
    })
}

fn decode<T: 'static>(codec: Arc<dyn Codec<T>>, values: Vec<T>) -> Box<dyn Workload> {
    let bytes = values.iter().map(|value| {
        let mut out = Vec::new();
        codec.encode(value, &mut out).expect("encodes");
        out
    });
    let bytes: Vec<_> = bytes.collect();
    Box::new(move || {
        for bytes in &bytes {
            black_box(codec.decode(Some(black_box(bytes))).expect("decodes"));
        }
    })
}
