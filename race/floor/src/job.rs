//! What is done with one record.

use std::collections::HashMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::client::FloorOutput;
use crate::{Result, Settings};

#[derive(Deserialize)]
struct Order<'a> {
    order_id: &'a str,
    customer_id: &'a str,
    amount: f64,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct Shipment<'a> {
    shipment_id: &'a str,
    order_id: &'a str,
    customer_id: &'a str,
    status: &'a str,
    created_at: &'a str,
}

pub(crate) enum Job {
    Shipments { id: String, value: Vec<u8> },
    Counts { parse: bool, counts: HashMap<Box<[u8]>, u64, ahash::RandomState>, value: Vec<u8> },
}

impl Job {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let value = Vec::with_capacity(512);
        match settings.job.as_str() {
            "J1" => Ok(Self::Shipments { id: String::new(), value }),
            "J2" => Ok(Self::Counts { parse: settings.parse, counts: counts(), value }),
            other => Err(format!("no job {other}").into()),
        }
    }

    pub(crate) fn see(&mut self, key: &[u8], value: &[u8], output: &FloorOutput) -> Result<()> {
        match self {
            Self::Shipments { id, value: out } => {
                let order: Order<'_> = serde_json::from_slice(value)?;
                if order.amount < 1.0 {
                    return Ok(());
                }
                out.clear();
                serde_json::to_writer(&mut *out, &shipment(&order, id))?;
                output.send(key, out)
            }
            Self::Counts { parse, counts, value: out } => {
                if *parse {
                    let order: Order<'_> = serde_json::from_slice(value)?;
                    std::hint::black_box(order.amount);
                }
                let count = match counts.get_mut(key) {
                    Some(count) => count,
                    None => counts.entry(key.into()).or_default(),
                };
                *count += 1;
                out.clear();
                write!(out, "{count}")?;
                output.send(key, out)
            }
        }
    }
}

/// Any seeds work: the floor is not attacked.
fn counts() -> HashMap<Box<[u8]>, u64, ahash::RandomState> {
    HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4))
}

fn shipment<'a>(order: &Order<'a>, id: &'a mut String) -> Shipment<'a> {
    id.clear();
    id.push_str("ship-");
    id.push_str(order.order_id);
    Shipment {
        shipment_id: id,
        order_id: order.order_id,
        customer_id: order.customer_id,
        status: "pending",
        created_at: order.timestamp,
    }
}
