//! Batches of records as they come from a broker: format 2, with aborted ones left out.

use std::sync::Arc;

use super::decompress::CompressionCodec;
use super::fetched::{BufferPool, FetchedRecords, RecordEntry, VarintReader};

/// Why records cannot be read, and from where on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the batch at offset {offset} {why}")]
pub(crate) struct CorruptBatch {
    offset: i64,
    why: String,
}

/// Decodes what a response holds for one partition.
pub(crate) struct RecordsDecoder<'a> {
    /// Records below this offset were read before.
    pub(crate) from: i64,
    /// Only committed records.
    pub(crate) read_committed: bool,
    /// Transactions that were aborted: producer, first offset.
    pub(crate) aborted: &'a mut Vec<(i64, i64)>,
    /// After the batch that reaches this many decompressed bytes the rest is left out: it is small
    /// now, and may become large.
    pub(crate) bytes_max: usize,
    /// Where memory is taken from.
    pub(crate) pool: &'a Arc<BufferPool>,
}

/// What a response held for one partition.
pub(crate) struct DecodedRecords {
    pub(crate) records: FetchedRecords,
    /// The offset from which to read on; `None` if there was no whole batch.
    pub(crate) next: Option<i64>,
    /// If something was left out: how many bytes of the response were taken.
    pub(crate) cut_at: Option<usize>,
}

impl RecordsDecoder<'_> {
    /// Decodes whole batches: all, or as many as may be. Aborted transactions that go on
    /// after them are named again by the response that begins there.
    pub(crate) fn decode(&mut self, all: &[u8]) -> Result<DecodedRecords, CorruptBatch> {
        let mut set = all;
        self.aborted.sort_unstable_by_key(|(_, first)| *first);
        let mut records = FetchedRecords::new(self.pool, set.len());
        let mut next = None;
        let mut aborting = Vec::new();
        let mut pending = self.aborted.iter().peekable();
        while let Some((header, rest)) = BatchHeader::read(set)? {
            let batch = &set[..set.len() - rest.len()];
            set = rest;
            let corrupt = |why: String| CorruptBatch { offset: header.base_offset, why };
            header.check(batch).map_err(corrupt)?;
            let end = header.end().ok_or_else(|| corrupt("has no offsets".to_owned()))?;
            // The checksum does not cover the offset.
            let is_before = next.is_some_and(|next| header.base_offset < next);
            if is_before || end <= self.from {
                return Err(corrupt("is not where it was asked for".to_owned()));
            }
            while let Some((producer, _)) = pending.next_if(|(_, first)| *first < end) {
                aborting.push(*producer);
            }
            next = Some(end);
            if header.is_control() {
                // A marker ends its producer's transaction, whichever way.
                aborting.retain(|producer| *producer != header.producer_id);
                continue;
            }
            let is_aborted = header.is_transactional() && aborting.contains(&header.producer_id);
            if self.read_committed && is_aborted {
                continue;
            }
            records.add(&header, &batch[HEADER..], self.from).map_err(corrupt)?;
            if records.bytes.len() >= self.bytes_max && !set.is_empty() {
                let cut_at = Some(all.len() - set.len());
                return Ok(DecodedRecords { records, next, cut_at });
            }
        }
        Ok(DecodedRecords { records, next, cut_at: None })
    }
}

/// Bytes of a batch before its records.
const HEADER: usize = 61;
/// Bytes of a batch before what its length counts.
const UNCOUNTED: usize = 12;
/// Bytes of a batch before what its checksum covers.
const UNCHECKED: usize = 21;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

struct BatchHeader {
    base_offset: i64,
    checksum: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    count: i32,
}

impl BatchHeader {
    /// The header of the first batch, and what follows the batch; `None` if it is cut off.
    fn read(set: &[u8]) -> Result<Option<(Self, &[u8])>, CorruptBatch> {
        // All formats have the length and their number in the same places.
        let Some((start, _)) = set.split_first_chunk::<17>() else { return Ok(None) };
        let base_offset = i64::from_be_bytes(fixed(start, 0));
        let corrupt = |why: String| CorruptBatch { offset: base_offset, why };
        let length = i32::from_be_bytes(fixed(start, 8));
        let length = usize::try_from(length).map_err(|_| corrupt("has no length".to_owned()))?;
        let Some((batch, rest)) = set.split_at_checked(UNCOUNTED + length) else { return Ok(None) };
        let format = start[16];
        if format != 2 {
            let why = format!(
                "is of message format {format}, which only librdkafka reads: any of its consumer's \
                 properties makes it read, check.crcs = true for example"
            );
            return Err(corrupt(why));
        }
        let Some((bytes, _)) = batch.split_first_chunk::<HEADER>() else {
            return Err(corrupt("has no header".to_owned()));
        };
        let header = Self {
            base_offset,
            checksum: u32::from_be_bytes(fixed(bytes, 17)),
            attributes: i16::from_be_bytes(fixed(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(fixed(bytes, 23)),
            base_timestamp: i64::from_be_bytes(fixed(bytes, 27)),
            max_timestamp: i64::from_be_bytes(fixed(bytes, 35)),
            producer_id: i64::from_be_bytes(fixed(bytes, 43)),
            count: i32::from_be_bytes(fixed(bytes, 57)),
        };
        Ok(Some((header, rest)))
    }

    fn check(&self, batch: &[u8]) -> Result<(), String> {
        let checksum = crc32c::crc32c(&batch[UNCHECKED..]);
        if checksum == self.checksum { Ok(()) } else { Err("has a wrong checksum".to_owned()) }
    }

    /// The offset after its last record; `None` if there is no such offset.
    fn end(&self) -> Option<i64> {
        let count = i64::from(self.last_offset_delta).checked_add(1)?;
        let end = self.base_offset.checked_add(count)?;
        (self.base_offset >= 0 && self.last_offset_delta >= 0).then_some(end)
    }

    fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }
}

/// Part of an array; the caller knows that it is there.
fn fixed<const N: usize, const M: usize>(bytes: &[u8; M], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

impl FetchedRecords {
    /// Adds the records of a batch from offset `from` on.
    fn add(&mut self, header: &BatchHeader, compressed: &[u8], from: i64) -> Result<(), String> {
        let codec =
            CompressionCodec::of(header.attributes).ok_or("has a compression that is not known")?;
        let start = self.bytes.len();
        codec
            .append(compressed, &mut self.bytes)
            .map_err(|why| format!("cannot be decompressed: {why}"))?;
        if u32::try_from(self.bytes.len()).is_err() {
            return Err("is too large".to_owned());
        }
        // The count is only the producer's word; a record has at least seven bytes.
        let count = usize::try_from(header.count).unwrap_or(0);
        self.entries.reserve(count.min((self.bytes.len() - start) / 7));
        let mut input = VarintReader { bytes: &self.bytes, at: start };
        for _ in 0..count {
            let Some(entry) = header.entry(&mut input) else {
                return Err("has a record that cannot be read".to_owned());
            };
            if entry.offset >= from {
                self.entries.push(entry);
            }
        }
        Ok(())
    }
}

impl BatchHeader {
    /// Reads the next record.
    fn entry(&self, input: &mut VarintReader<'_>) -> Option<RecordEntry> {
        let length = usize::try_from(input.varint()?).ok()?;
        let end = input.at.checked_add(length).filter(|end| *end <= input.bytes.len())?;
        let _attributes = input.byte()?;
        let timestamp = input.varint()?;
        let offset = input.varint()?;
        let key = input.span()?;
        let value = input.span()?;
        let headers = input.at as u32;
        for _ in 0..input.varint()? {
            input.span()?;
            input.span()?;
        }
        if input.at != end {
            return None;
        }
        let timestamp = if self.attributes & LOG_APPEND_TIME != 0 {
            self.max_timestamp
        } else {
            self.base_timestamp.wrapping_add(timestamp)
        };
        let is_its_own = (0..=self.last_offset_delta.into()).contains(&offset);
        let offset = self.base_offset.checked_add(offset).filter(|_| is_its_own)?;
        Some(RecordEntry { offset, timestamp, key, value, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoder::{BatchBuilder, BatchProducer, Compression, Compressor};
    use super::*;

    /// A batch of `values`, at `offset`, by `producer`.
    fn batch(offset: i64, producer: i64, values: &[&str]) -> Vec<u8> {
        let mut writer = BatchBuilder::new(Vec::new());
        let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"x")), ("none", None)];
        for (number, value) in (0..).zip(values) {
            writer.add(1_000 - number, None, Some(value.as_bytes()), Some(&headers));
        }
        let mut out = Vec::new();
        let producer = BatchProducer { producer_id: producer, epoch: 0, sequence: 0 };
        Compressor::new(Compression::Lz4).append(&writer.finish(), producer, &mut out);
        out[..8].copy_from_slice(&offset.to_be_bytes());
        out
    }

    fn mend(batch: &mut [u8]) {
        let checksum = crc32c::crc32c(&batch[UNCHECKED..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    }

    fn marker(offset: i64, producer: i64) -> Vec<u8> {
        let mut marker = batch(offset, producer, &["end"]);
        marker[22] |= CONTROL as u8;
        mend(&mut marker);
        marker
    }

    /// Offsets and values.
    type Found = Vec<(i64, String)>;

    fn decode(
        set: &[u8],
        from: i64,
        aborted: &[(i64, i64)],
    ) -> Result<(Found, Option<i64>), CorruptBatch> {
        let aborted = &mut aborted.to_vec();
        let pool = &Arc::default();
        let bytes_max = usize::MAX;
        let mut decoder = RecordsDecoder { from, read_committed: true, aborted, bytes_max, pool };
        let DecodedRecords { records, next, .. } = decoder.decode(set)?;
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"?")).into();
        let all = (0..records.len()).map(|index| records.record(index));
        Ok((all.map(|record| (record.offset, text(record.value))).collect(), next))
    }

    fn numbered(records: &[(i64, &str)]) -> Found {
        records.iter().map(|(offset, text)| (*offset, (*text).to_owned())).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut aborted = Vec::new();
        let aborted = &mut aborted;
        let pool = &Arc::default();
        let bytes_max = usize::MAX;
        let mut decoder =
            RecordsDecoder { from: 0, read_committed: true, aborted, bytes_max, pool };
        let decoded = decoder.decode(&batch(7, 1, &["a", ""])).expect("decoded");
        let DecodedRecords { records, next, .. } = decoded;
        assert_eq!((records.len(), next), (2, Some(9)));
        let second = records.record(1);
        assert_eq!((second.offset, second.timestamp), (8, 999));
        assert_eq!((second.key, second.value), (None, Some(&b""[..])));
        let mut headers = Vec::new();
        let mut keep = |name: &str, value: Option<&[u8]>| {
            headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        };
        records.headers(1, &mut keep);
        assert_eq!(headers, [("h".to_owned(), Some(b"x".to_vec())), ("none".to_owned(), None)]);
    }

    #[test]
    fn memory_is_used_again_but_not_for_much_less() {
        let pool = Arc::<BufferPool>::default();
        let decode = |set: &[u8]| {
            let aborted = &mut Vec::new();
            let pool = &pool;
            let bytes_max = usize::MAX;
            let mut decoder =
                RecordsDecoder { from: 0, read_committed: true, aborted, bytes_max, pool };
            decoder.decode(set).expect("good").records
        };
        let long = "x".repeat(50_000);
        let short = batch(0, 1, &["a"]);
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let states = std::iter::successors(Some(1_u32), next).take(50_000);
        let noise: String = states.map(|state| char::from(33 + (state >> 24) as u8 % 89)).collect();
        let large = batch(0, 1, &[&long, &noise]);
        let first = decode(&large);
        let place = first.bytes.as_ptr();
        let size = first.size();
        drop(first);
        let small = decode(&short);
        assert!(small.size() < size / 8 && small.bytes.as_ptr() != place);
        let again = decode(&large);
        assert_eq!((again.bytes.as_ptr(), again.len()), (place, 2));
    }

    #[test]
    fn what_is_cut_off_or_was_read_before_is_left_out() {
        let mut set = [batch(0, 1, &["a", "b", "c"]), batch(3, 1, &["d"])].concat();
        let expected = numbered(&[(2, "c"), (3, "d")]);
        assert_eq!(decode(&set, 2, &[]), Ok((expected, Some(4))));
        set.pop();
        assert_eq!(decode(&set, 2, &[]), Ok((numbered(&[(2, "c")]), Some(3))));
        assert_eq!(decode(&set[..40], 0, &[]), Ok((Vec::new(), None)));
    }

    #[test]
    fn aborted_transactions_are_passed_over() {
        let set = [
            batch(0, 1, &["aborted"]),
            batch(1, 2, &["committed"]),
            batch(2, 1, &["aborted"]),
            marker(3, 1),
            batch(4, 1, &["later"]),
            marker(5, 1),
            batch(6, 1, &["aborted again"]),
        ]
        .concat();
        let expected = numbered(&[(1, "committed"), (4, "later")]);
        // Out of order, as brokers may list them; and one that began before what is read.
        let aborted = [(1, 6), (1, -5)];
        assert_eq!(decode(&set, 0, &aborted), Ok((expected, Some(7))));
    }

    #[test]
    fn what_becomes_too_large_is_left_after_the_batch_that_reaches_the_bound() {
        let zeros = "0".repeat(100_000);
        let parts = [
            batch(0, 1, &["aborted"]),
            batch(1, 2, &[&zeros]),
            batch(2, 2, &[&zeros]),
            marker(3, 1),
        ];
        let set = parts.concat();
        assert!(set.len() < 5_000, "small while it is compressed");
        let decode = |from: i64, set: &[u8], bytes_max| {
            let aborted = &mut vec![(1, 0)];
            let pool = &Arc::default();
            let mut decoder =
                RecordsDecoder { from, read_committed: true, aborted, bytes_max, pool };
            let DecodedRecords { records, next, cut_at } = decoder.decode(set).expect("good");
            let all = (0..records.len()).map(|index| records.record(index).offset);
            (all.collect::<Vec<_>>(), next, cut_at)
        };
        let first = parts[0].len() + parts[1].len();
        // One batch at least, and the one that reaches the bound.
        for bytes_max in [0, 1, 100_000] {
            assert_eq!(decode(0, &set, bytes_max), (vec![1], Some(2), Some(first)));
        }
        assert_eq!(
            decode(0, &set, 100_100),
            (vec![1, 2], Some(3), Some(set.len() - parts[3].len()))
        );
        assert_eq!(decode(0, &set, 1 << 20), (vec![1, 2], Some(4), None));
        assert_eq!(decode(2, &set[first..], 0), (vec![2], Some(3), Some(parts[2].len())));
    }

    #[test]
    fn damage_is_an_error_that_names_the_offset_and_never_a_panic() {
        let good = batch(5, 1, &["one", "two", "three"]);
        let mut bad = good.clone();
        *bad.last_mut().expect("bytes") ^= 1;
        let error = decode(&bad, 0, &[]).expect_err("damaged");
        assert_eq!(error.to_string(), "the batch at offset 5 has a wrong checksum");
        for at in 21..good.len() {
            for damage in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= damage;
                mend(&mut bad);
                // Whatever comes of it.
                let _ = decode(&bad, 0, &[]);
            }
        }
        for (offset, from) in [(-1, 0), (i64::MAX - 2, 0), (i64::MIN, 0), (5, 8), (5, i64::MAX)] {
            let mut bad = good.clone();
            bad[..8].copy_from_slice(&i64::to_be_bytes(offset));
            assert!(decode(&bad, from, &[]).is_err(), "{offset}, asked for {from}");
        }
        assert!(decode(&[good.clone(), batch(7, 1, &["early"])].concat(), 0, &[]).is_err());
        let mut old = good;
        old[16] = 1;
        let error = decode(&old, 0, &[]).expect_err("an old format");
        assert!(error.to_string().contains("message format 1"), "{error}");
    }
}
