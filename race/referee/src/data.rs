//! The data: a pure function of its size, so that generator and checker agree without a file.

pub(crate) mod customers;

use std::fmt::Write;

use crate::Result;

pub(crate) const CATEGORIES: [&str; 20] = [
    "books",
    "music",
    "games",
    "garden",
    "sports",
    "toys",
    "shoes",
    "tools",
    "grocery",
    "health",
    "beauty",
    "pets",
    "office",
    "travel",
    "movies",
    "phones",
    "laptops",
    "cameras",
    "kitchen",
    "furniture",
];
const SEED: u64 = 42;
/// 2024-01-15T00:00:00Z
const DAY_S: u64 = 1_705_276_800;
/// 2024-01-15T10:30:00Z
pub(crate) const BEGIN_S: u64 = 1_705_314_600;
pub(crate) const SPAN_S: u64 = 7_200;
/// Orders of less are not shipped.
pub(crate) const SHIPPED_CENTS_MIN: u32 = 100;

#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) number: u32,
    pub(crate) customer: u32,
    pub(crate) category: u8,
    pub(crate) cents: u32,
    /// Event time, whole seconds.
    pub(crate) at_s: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderKey {
    Customer,
    Order,
    Category,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    Zipf,
    Uniform,
}

/// Which records are in a topic.
#[derive(Clone, Copy)]
pub(crate) struct DataSet {
    pub(crate) records: u64,
    pub(crate) customers: u32,
    pub(crate) spread: Spread,
    pub(crate) key: OrderKey,
    /// Of its topic, and of all others of the run.
    pub(crate) partitions: u32,
}

impl DataSet {
    pub(crate) fn orders(&self) -> Orders {
        let mut weights = Vec::new();
        if self.spread == Spread::Zipf {
            let mut sum = 0.0;
            weights.extend((1..=self.customers).map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            }));
        }
        Orders { records: self.records, customers: self.customers, next: 0, seed: SEED, weights }
    }

    /// How many orders each customer has.
    pub(crate) fn orders_by_customer(&self) -> Vec<u64> {
        let mut counts = vec![0; self.customers as usize];
        self.orders().for_each(|order| counts[order.customer as usize] += 1);
        counts
    }
}

pub(crate) struct Orders {
    records: u64,
    customers: u32,
    next: u64,
    seed: u64,
    /// Cumulative; empty if all customers are alike.
    weights: Vec<f64>,
}

impl Orders {
    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn customer(&mut self) -> u32 {
        let random = self.random();
        let Some(sum) = self.weights.last() else {
            return (random % u64::from(self.customers)) as u32;
        };
        let at = (random >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        let rank = self.weights.partition_point(|&weight| weight <= at);
        (rank as u32).min(self.customers - 1)
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        if self.next == self.records {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let customer = self.customer();
        let random = self.random();
        let mut at_s = BEGIN_S + number * SPAN_S / self.records;
        // One in a hundred is up to 5 s late.
        if (random >> 40).is_multiple_of(100) {
            at_s -= ((random >> 48) % 6).min(at_s - BEGIN_S);
        }
        Some(Order {
            number: number as u32,
            customer,
            category: (random % 20) as u8,
            // 0.50 to 500.49: one in a thousand is below 1.00.
            cents: 50 + ((random >> 8) % 50_000) as u32,
            at_s,
        })
    }
}

impl Order {
    pub(crate) fn key(&self, key: OrderKey) -> String {
        match key {
            OrderKey::Customer => format!("cust-{}", self.customer),
            OrderKey::Order => format!("order-{}", self.number),
            OrderKey::Category => CATEGORIES[usize::from(self.category)].to_owned(),
        }
    }

    pub(crate) fn json(&self, out: &mut String) -> Result<()> {
        out.clear();
        write!(
            out,
            r#"{{"order_id":"order-{}","customer_id":"cust-{}","category":"{}","amount":{}.{:02},"#,
            self.number,
            self.customer,
            CATEGORIES[usize::from(self.category)],
            self.cents / 100,
            self.cents % 100,
        )?;
        write!(out, r#""timestamp":"{}"}}"#, self.timestamp())?;
        Ok(())
    }

    /// As RFC 3339 has it; all of the data is on one day.
    pub(crate) fn timestamp(&self) -> String {
        let second = self.at_s - DAY_S;
        let hour = second / 3_600;
        let minute = second / 60 % 60;
        format!("2024-01-15T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }

    pub(crate) fn at_ms(&self) -> i64 {
        self.at_s as i64 * 1_000
    }
}

/// The Java client's default: murmur2, so that all programs see keys in the same partitions.
pub(crate) fn partition(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let chunks = key.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let word = chunk.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let mut mixed = word.wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % partitions) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes are those of the Java client's own test, `UtilsTest.testMurmur2`.
    #[test]
    fn partitions_are_those_of_the_java_client() {
        let partition_of = |hash: i32| (hash & 0x7fff_ffff) % 4;
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(partition(key.as_bytes(), 4), partition_of(hash), "{key}");
        }
    }

    #[test]
    fn an_order_is_one_line_of_json() {
        let order = Order { number: 7, customer: 3, category: 0, cents: 1_205, at_s: BEGIN_S };
        let mut json = String::new();
        order.json(&mut json).expect("writes");
        let expected = concat!(
            r#"{"order_id":"order-7","customer_id":"cust-3","category":"books","amount":12.05,"#,
            r#""timestamp":"2024-01-15T10:30:00Z"}"#
        );
        assert_eq!(json, expected);
    }
}
