//! What producers may have compressed their batches with.

use std::io::Read;

/// The compression of a batch, by the number in its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompressionCodec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// More than any batch has; less than what a hostile one could ask for.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// What the Java client puts before blocks of Snappy.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
/// Its versions follow.
const XERIAL_VERSIONS: usize = 8;

impl CompressionCodec {
    pub(super) fn of(attributes: i16) -> Option<Self> {
        Some(match attributes & 7 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// Appends what `bytes` were before they were compressed; says what is wrong with them if they
    /// cannot be.
    pub(super) fn append(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::None => out.extend_from_slice(bytes),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), out)?,
            Self::Snappy => snappy(bytes, out)?,
            Self::Lz4 => read(lz4_flex::frame::FrameDecoder::new(bytes), out)?,
            Self::Zstd => {
                read(zstd::Decoder::new(bytes).map_err(|error| error.to_string())?, out)?;
            }
        }
        Ok(())
    }
}

fn read(decoder: impl Read, out: &mut Vec<u8>) -> Result<(), String> {
    let before = out.len();
    let result = decoder.take(DECOMPRESSED_MAX as u64).read_to_end(out);
    result.map_err(|error| error.to_string())?;
    if out.len() - before < DECOMPRESSED_MAX { Ok(()) } else { Err(too_large()) }
}

fn too_large() -> String {
    format!("more than {} MiB when it is decompressed", DECOMPRESSED_MAX >> 20)
}

fn snappy(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let Some(framed) = bytes.strip_prefix(XERIAL) else { return snappy_block(bytes, out) };
    let mut rest = framed.get(XERIAL_VERSIONS..).ok_or("its frame is cut off")?;
    let before = out.len();
    while !rest.is_empty() {
        let (length, blocks) = rest.split_first_chunk().ok_or("its frame is cut off")?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, others) = blocks.split_at_checked(length).ok_or("its frame is cut off")?;
        snappy_block(block, out)?;
        if out.len() - before > DECOMPRESSED_MAX {
            return Err(too_large());
        }
        rest = others;
    }
    Ok(())
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    let before = out.len();
    if length > DECOMPRESSED_MAX {
        return Err(too_large());
    }
    out.resize(before + length, 0);
    let done = snap::raw::Decoder::new().decompress(block, &mut out[before..]);
    done.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decompressed(codec: CompressionCodec, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = b"before".to_vec();
        codec.append(bytes, &mut out)?;
        Ok(out.split_off(6))
    }

    fn text() -> Vec<u8> {
        (0..5_000).flat_map(|n| format!("line {n}, ").into_bytes()).collect()
    }

    #[test]
    fn everything_comes_back() {
        let text = text();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).expect("compressed");
        let gzip = gzip.finish().expect("compressed");
        let snappy = snap::raw::Encoder::new().compress_vec(&text).expect("compressed");
        let mut xerial = [XERIAL, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for part in text.chunks(10_000) {
            let block = snap::raw::Encoder::new().compress_vec(part).expect("compressed");
            xerial.extend_from_slice(&(block.len() as u32).to_be_bytes());
            xerial.extend_from_slice(&block);
        }
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&text).expect("compressed");
        let lz4 = lz4.finish().expect("compressed");
        let zstd = zstd::encode_all(&text[..], 1).expect("compressed");
        for (codec, bytes) in [
            (CompressionCodec::None, &text),
            (CompressionCodec::Gzip, &gzip),
            (CompressionCodec::Snappy, &snappy),
            (CompressionCodec::Snappy, &xerial),
            (CompressionCodec::Lz4, &lz4),
            (CompressionCodec::Zstd, &zstd),
        ] {
            assert!(decompressed(codec, bytes).as_ref() == Ok(&text), "{codec:?}");
            if codec != CompressionCodec::None {
                assert!(decompressed(codec, &bytes[..bytes.len() / 2]).is_err(), "{codec:?} cut");
            }
        }
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let zeros = zstd::encode_all(std::io::repeat(0).take(1 << 29), 1).expect("compressed");
        assert!(
            decompressed(CompressionCodec::Zstd, &zeros).is_err_and(|why| why.contains("256 MiB"))
        );
        let block = snap::raw::Encoder::new().compress_vec(&[0; 32 << 20]).expect("compressed");
        let length = (block.len() as u32).to_be_bytes();
        let blocks = [&length[..], &block].concat().repeat(9);
        let many = [XERIAL, &[0; 8], &blocks].concat();
        assert!(
            decompressed(CompressionCodec::Snappy, &many).is_err_and(|why| why.contains("256 MiB"))
        );
    }
}
