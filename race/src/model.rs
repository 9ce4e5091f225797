//! The race's records. Its strings are short enough for `CompactString` to keep them without an
//! allocation.

use compact_str::{CompactString, format_compact};
use headwater::codec::{Codec, CodecError};
use headwater::windows::Windowed;
use serde::{Deserialize, Serialize};

pub(crate) type Id = CompactString;

/// UTF-8 as it is.
pub(crate) struct Utf8;

impl Codec<Id> for Utf8 {
    fn encode(&self, value: &Id, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Id, CodecError> {
        CompactString::from_utf8(bytes.ok_or_else(CodecError::null)?).map_err(CodecError::new)
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) order_id: Id,
    pub(crate) customer_id: Id,
    pub(crate) category: Id,
    pub(crate) amount: f64,
    pub(crate) timestamp: Id,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Shipment {
    shipment_id: Id,
    order_id: Id,
    customer_id: Id,
    status: Id,
    created_at: Id,
}

impl From<Order> for Shipment {
    fn from(order: Order) -> Self {
        Self {
            shipment_id: format_compact!("ship-{}", order.order_id),
            order_id: order.order_id,
            customer_id: order.customer_id,
            status: CompactString::const_new("pending"),
            created_at: order.timestamp,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Total {
    count: u64,
    revenue: f64,
}

impl Total {
    pub(crate) fn add(&mut self, _: &Id, order: Order) {
        self.count += 1;
        self.revenue += order.amount;
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Sales {
    category: Id,
    window_start: i64,
    window_end: i64,
    count: u64,
    revenue: f64,
}

impl Sales {
    pub(crate) fn of(window: Windowed<Id>, total: Total) -> (Id, Self) {
        let sales = Self {
            category: window.key.clone(),
            window_start: window.start,
            window_end: window.end,
            count: total.count,
            revenue: total.revenue,
        };
        (window.key, sales)
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Customer {
    customer_id: Id,
    tier: Id,
    version: u32,
}

/// An order with what is known of its customer.
#[derive(Serialize, Deserialize)]
pub(crate) struct Enriched {
    order_id: Id,
    customer_id: Id,
    category: Id,
    amount: f64,
    tier: Option<Id>,
    version: Option<u32>,
}

impl Enriched {
    pub(crate) fn of(_: &Id, order: &Order, customer: Option<&Customer>) -> Self {
        Self {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            category: order.category.clone(),
            amount: order.amount,
            tier: customer.map(|customer| customer.tier.clone()),
            version: customer.map(|customer| customer.version),
        }
    }
}
