//! Sorts byte strings by numbers made of their first bytes.
//!
//! Keys of a table have a common prefix (`customer-`, a window's start) and are scattered in
//! memory, so a comparison waits for memory twice. The eight bytes after the common prefix
//! distinguish most keys, and numbers are sorted several times faster.

/// Returns the indices of `count` keys in the order of the keys. Equal keys keep their order.
pub(crate) fn order<'a>(
    count: usize,
    key: impl Fn(usize) -> &'a [u8],
) -> impl ExactSizeIterator<Item = usize> {
    let mut slots: Vec<Slot> = (0..count).map(|number| slot(&[], number)).collect();
    sort(&key, 0, &mut slots);
    slots.into_iter().map(number)
}

/// Eight bytes of a key in front of its index.
type Slot = u128;

fn slot(bytes: &[u8], number: usize) -> Slot {
    let mut first = [0; 8];
    let length = bytes.len().min(first.len());
    first[..length].copy_from_slice(&bytes[..length]);
    Slot::from(u64::from_be_bytes(first)) << 64 | number as Slot
}

fn number(slot: Slot) -> usize {
    slot as u64 as usize
}

/// Up to this many keys are compared directly.
const FEW: usize = 16;

/// Sorts keys whose first `depth` bytes are the same.
fn sort<'a>(key: &impl Fn(usize) -> &'a [u8], depth: usize, slots: &mut [Slot]) {
    let key_of = |slot: &Slot| key(number(*slot));
    // A number cannot distinguish a key that ends here from one that continues with zeros.
    let ends_here = |slot: &Slot| key_of(slot).len() < depth;
    if slots.len() <= FEW || slots.iter().any(ends_here) {
        slots.sort_by(|one, other| key_of(one).cmp(key_of(other)));
        return;
    }
    let first = key_of(&slots[0]);
    let common = slots.iter().fold(first.len(), |common, slot| {
        let is_same = |(one, other): &(&u8, &u8)| one == other;
        depth + first[depth..common].iter().zip(&key_of(slot)[depth..]).take_while(is_same).count()
    });
    for one in &mut *slots {
        *one = slot(&key_of(one)[common..], number(*one));
    }
    slots.sort_unstable();
    let tied = slots.chunk_by_mut(|one, other| one >> 64 == other >> 64);
    tied.filter(|tied| tied.len() > 1).for_each(|tied| sort(key, common + 8, tied));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(keys: &[Vec<u8>]) -> Vec<usize> {
        order(keys.len(), |number| &keys[number]).collect()
    }

    proptest! {
        /// Keys with a common prefix, keys that end in zeros, equal keys, and prefixes of other
        /// keys.
        #[test]
        fn the_order_is_a_stable_sort(
            keys in prop::collection::vec(
                (0..3_usize, prop::collection::vec(0..3_u8, 0..20)).prop_map(|(start, rest)| {
                    [&b"customer-of-yesterday"[..start * 9], &rest].concat()
                }),
                0..400,
            ),
        ) {
            let mut expected: Vec<_> = (0..keys.len()).collect();
            expected.sort_by_key(|number| &keys[*number]);
            prop_assert_eq!(sorted(&keys), expected);
        }
    }

    #[test]
    fn keys_with_equal_numbers_are_sorted() {
        let keys: Vec<_> =
            (0..99).rev().map(|zeros| [&b"key"[..], &vec![0; zeros]].concat()).collect();
        assert_eq!(sorted(&keys), (0..99).rev().collect::<Vec<_>>());
        let equal = vec![b"always the same".to_vec(); 99];
        assert_eq!(sorted(&equal), (0..99).collect::<Vec<_>>());
    }
}
