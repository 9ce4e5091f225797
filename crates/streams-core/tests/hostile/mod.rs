//! Bytes that no program should write. They come from pseudorandom numbers that are the same for
//! the same seed.

use std::time::{Duration, Instant};

use headwater_testkit::Dice;

/// How long the fuzzers of a file run together, unless `HEADWATER_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 20;

/// Runs cases for the given share of the time, each from its own seed. `HEADWATER_SEED=7` runs that
/// one.
#[expect(clippy::disallowed_methods, reason = "the test takes time; what it tests does not")]
pub(crate) fn fuzz(share: u32, mut case: impl FnMut(&mut Dice)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HEADWATER_SEED") {
        return case(&mut Dice::new(seed));
    }
    let seconds = number("HEADWATER_FUZZ_SECONDS").unwrap_or(SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds) / share;
    let mut seed = 0;
    while Instant::now() < until || seed < 100 {
        let _said = SayOnPanic(seed);
        case(&mut Dice::new(seed));
        seed += 1;
    }
    println!("{seed} cases");
}

/// Prints the seed of a case that fails.
struct SayOnPanic(u64);

impl Drop for SayOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was HEADWATER_SEED={}", self.0);
        }
    }
}

pub(crate) fn one_of<'a, T>(dice: &mut Dice, all: &'a [T]) -> &'a T {
    &all[dice.below(all.len())]
}

pub(crate) fn random(dice: &mut Dice, length_max: usize) -> Vec<u8> {
    (0..dice.below(length_max + 1)).map(|_| dice.roll() as u8).collect()
}

/// Numbers at the edges, and some in between.
pub(crate) fn number(dice: &mut Dice) -> i64 {
    let near = *one_of(
        dice,
        &[
            0,
            i64::MAX,
            i64::MIN,
            i64::MAX / 8,
            i64::MAX / 16,
            253_402_300_799_999,
            1 << 32,
            100_000,
        ],
    );
    match dice.below(3) {
        0 => near,
        1 => near.wrapping_add(dice.below(7) as i64 - 3),
        _ => dice.roll() as i64 >> dice.below(64),
    }
}

/// What is put between other bytes.
const PIECES: [&[u8]; 14] = [
    b"null",
    b"[",
    b"{\"",
    b"\"",
    b"1e400",
    b"-0.0",
    b"\xff\xff\xff\xff",
    b"\x04",
    b"\0\0\0\0",
    b";t:",
    b"9223372036854775807",
    b"-1",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\xc3",
];

/// `bytes` with some damage.
pub(crate) fn damaged(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        let end = at + dice.below(bytes.len() - at + 1);
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.roll() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let number = number(dice).to_be_bytes();
                let end = bytes.len().min(at + 8);
                bytes.splice(at..end, number);
            }
            6 => {
                let piece = one_of(dice, &PIECES).repeat(1 + dice.below(3) * dice.below(100));
                bytes.splice(at..at, piece);
            }
            _ => {
                let more = random(dice, 9);
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}
