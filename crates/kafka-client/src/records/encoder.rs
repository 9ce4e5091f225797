//! Batches of records as they go to a broker: format 2, and LZ4 in Kafka's framing.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::protocol::unsigned_varint;
use crate::record::RecordHeaders;

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Lz4,
}

/// Collects the records of one batch.
#[derive(Default)]
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    count: i32,
    first: i64,
    greatest: i64,
}

/// The records of a batch, encoded.
pub(crate) struct EncodedBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: i32,
    first: i64,
    greatest: i64,
}

impl BatchBuilder {
    /// An empty batch that writes into `buffer`.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn add(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<&dyn RecordHeaders>,
    ) {
        if self.is_empty() {
            self.first = timestamp;
            self.greatest = timestamp;
        }
        self.greatest = self.greatest.max(timestamp);
        let delta = timestamp - self.first;
        let length = 1
            + size(delta)
            + size(self.count.into())
            + size_of_bytes(key)
            + size_of_bytes(value)
            + size_of_headers(headers);
        let bytes = &mut self.bytes;
        varint(bytes, length as i64);
        bytes.push(0);
        varint(bytes, delta);
        varint(bytes, self.count.into());
        put(bytes, key);
        put(bytes, value);
        match headers {
            None => varint(bytes, 0),
            Some(headers) => {
                varint(bytes, headers.count() as i64);
                headers.visit(&mut |name, value| {
                    put(bytes, Some(name.as_bytes()));
                    put(bytes, value);
                });
            }
        }
        self.count += 1;
    }

    pub(crate) fn finish(self) -> EncodedBatch {
        let Self { bytes, count, first, greatest } = self;
        EncodedBatch { bytes, count, first, greatest }
    }
}

/// What a batch says about its producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchProducer {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

const TRANSACTIONAL: i16 = 0x10;
const LZ4: i16 = 3;
/// Bytes of a batch before what its checksum covers.
const UNCHECKED: usize = 8 + 4 + 4 + 1 + 4;

/// Compresses batches; keeps its table from one to the next.
pub(crate) struct Compressor {
    compression: Compression,
    table: CompressTable,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, table: CompressTable::default(), scratch: Vec::new() }
    }

    /// Appends `batch` as it goes over the wire.
    pub(crate) fn append(
        &mut self,
        batch: &EncodedBatch,
        producer: BatchProducer,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(&0_i64.to_be_bytes()); // base offset: the broker's
        out.extend_from_slice(&[0; 4]); // length, see below
        out.extend_from_slice(&(-1_i32).to_be_bytes()); // leader epoch: the broker's
        out.push(2); // the format
        out.extend_from_slice(&[0; 4]); // checksum, see below
        out.extend_from_slice(&[0; 2]); // attributes, see below
        out.extend_from_slice(&(batch.count - 1).to_be_bytes());
        out.extend_from_slice(&batch.first.to_be_bytes());
        out.extend_from_slice(&batch.greatest.to_be_bytes());
        out.extend_from_slice(&producer.producer_id.to_be_bytes());
        out.extend_from_slice(&producer.epoch.to_be_bytes());
        out.extend_from_slice(&producer.sequence.to_be_bytes());
        out.extend_from_slice(&batch.count.to_be_bytes());
        let codec = self.append_records(&batch.bytes, out);
        out[start + UNCHECKED..start + UNCHECKED + 2]
            .copy_from_slice(&(TRANSACTIONAL | codec).to_be_bytes());
        let length = (out.len() - start - 12) as i32;
        let checksum = crc32c::crc32c(&out[start + UNCHECKED..]);
        out[start + 8..start + 12].copy_from_slice(&length.to_be_bytes());
        out[start + 17..start + 21].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Appends records, compressed if that makes them smaller: what fits a topic by itself must not
    /// be refused for what a frame adds. Returns the codec.
    fn append_records(&mut self, records: &[u8], out: &mut Vec<u8>) -> i16 {
        let start = out.len();
        if self.compression == Compression::Lz4 {
            self.append_lz4(records, out);
            if out.len() - start < records.len() {
                return LZ4;
            }
            out.truncate(start);
        }
        out.extend_from_slice(records);
        0
    }

    /// A frame of independent blocks without checksums, as all of Kafka's clients write it.
    fn append_lz4(&mut self, records: &[u8], out: &mut Vec<u8>) {
        // Magic, version 1 with independent blocks, blocks of at most 64 KiB, the checksum of that.
        out.extend_from_slice(&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        const UNCOMPRESSED: u32 = 1 << 31;
        self.scratch.resize(get_maximum_output_size(BLOCK), 0);
        for block in records.chunks(BLOCK) {
            let done = compress_into_with_table(block, &mut self.scratch, &mut self.table);
            let (mark, bytes) = match done {
                Ok(length) if length < block.len() => (0, &self.scratch[..length]),
                _ => (UNCOMPRESSED, block),
            };
            out.extend_from_slice(&(mark | bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&[0; 4]);
    }
}

/// Just below what the compressor can address with two bytes, which is quicker.
const BLOCK: usize = (64 << 10) - 2;

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn varint(bytes: &mut Vec<u8>, value: i64) {
    unsigned_varint(bytes, zigzag(value));
}

/// The bytes of a varint.
fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn size_of_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| size(bytes.len() as i64) + bytes.len())
}

fn size_of_headers(headers: Option<&dyn RecordHeaders>) -> usize {
    let Some(headers) = headers else { return 1 };
    let mut bytes = size(headers.count() as i64);
    headers.visit(&mut |name, value| {
        bytes += size_of_bytes(Some(name.as_bytes())) + size_of_bytes(value);
    });
    bytes
}

fn put(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        Some(part) => {
            varint(bytes, part.len() as i64);
            bytes.extend_from_slice(part);
        }
        None => varint(bytes, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_sizes_that_are_announced() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8191, 8192, 1 << 40, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            varint(&mut bytes, value);
            assert_eq!(bytes.len(), size(value), "{value}");
        }
    }

    #[test]
    fn records_are_as_the_format_says() {
        let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"x"))];
        let mut writer = BatchBuilder::new(vec![1, 2, 3]);
        writer.add(1_000, Some(b"k"), Some(b"v"), None);
        writer.add(998, None, None, Some(&headers));
        let batch = writer.finish();
        let first = [16, 0, 0, 0, 2, b'k', 2, b'v', 0];
        let second = [20, 0, 3, 2, 1, 1, 2, 2, b'h', 2, b'x'];
        assert_eq!(batch.bytes, [&first[..], &second[..]].concat());
        assert_eq!((batch.count, batch.first, batch.greatest), (2, 1_000, 1_000));
    }

    #[test]
    fn what_is_compressed_is_a_frame_of_lz4() {
        let mut writer = BatchBuilder::new(Vec::new());
        for number in 0..20_000 {
            let value = format!("a value that repeats itself, except {number}");
            writer.add(number, Some(&number.to_be_bytes()), Some(value.as_bytes()), None);
        }
        let batch = writer.finish();
        assert!(batch.bytes.len() > 10 * BLOCK);
        let mut out = b"before".to_vec();
        let producer = BatchProducer { producer_id: 7, epoch: 1, sequence: 3 };
        Compressor::new(Compression::Lz4).append(&batch, producer, &mut out);
        let frame = &out[6 + 61..];
        assert!(frame.len() < batch.bytes.len() / 2);
        let mut records = Vec::new();
        let mut decoder = lz4_flex::frame::FrameDecoder::new(frame);
        std::io::Read::read_to_end(&mut decoder, &mut records).expect("a frame of LZ4");
        assert_eq!(records, batch.bytes);
    }

    fn noise() -> Vec<u8> {
        let byte = |n: u32| (n.wrapping_mul(2_654_435_761).rotate_left(n % 31) >> 13) as u8;
        (0..200_000_u32).map(byte).collect()
    }

    #[test]
    fn a_batch_is_never_larger_than_its_records_are() {
        let producer = BatchProducer { producer_id: 7, epoch: 1, sequence: 3 };
        let noise = noise();
        for value in [&noise[..], b"short", b""] {
            let mut writer = BatchBuilder::new(Vec::new());
            writer.add(1, Some(b"k"), Some(value), None);
            let batch = writer.finish();
            let mut out = Vec::new();
            Compressor::new(Compression::Lz4).append(&batch, producer, &mut out);
            // The header, the length of the record, and the record.
            assert_eq!(out.len(), UNCHECKED + 40 + batch.bytes.len());
            assert_eq!(out[UNCHECKED..UNCHECKED + 2], TRANSACTIONAL.to_be_bytes());
        }
    }

    #[test]
    fn what_cannot_be_compressed_is_framed_as_it_is() {
        let noise = noise();
        let mut compressor = Compressor::new(Compression::Lz4);
        let mut out = Vec::new();
        compressor.append_lz4(&noise, &mut out);
        assert!(out.len() <= noise.len() + 7 + 4 + 4 * noise.len().div_ceil(BLOCK));
        let mut records = Vec::new();
        let mut decoder = lz4_flex::frame::FrameDecoder::new(&out[..]);
        std::io::Read::read_to_end(&mut decoder, &mut records).expect("a frame of LZ4");
        assert_eq!(records, noise);
    }
}
