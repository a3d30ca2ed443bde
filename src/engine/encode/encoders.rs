//! The encoders: all of a body into memory of the process's own.

use std::io::{self, Write};

use super::coding::Coding;

/// Binary logarithm of the window of Brotli: its default, which every decoder has.
const BR_WINDOW: u32 = 22;

/// The longest body, in bytes, that Brotli's level 10 encodes as fast as 9, whose tables are made for long ones; and 15 % shorter.
const BR_SHORT: usize = 4096;

/// Binary logarithm of the largest window of Zstandard that a client has to take (RFC 8878 §3.1.1.1.2; RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// Encodes `pieces`, which are `length` bytes together, at `level`; nothing if that does not make them shorter.
pub(crate) fn encode(
    coding: Coding,
    level: u32,
    length: usize,
    pieces: &mut dyn Iterator<Item = &[u8]>,
) -> Option<Vec<u8>> {
    let out = Shorter {
        bytes: Vec::new(),
        than: length,
    };
    let encoded = match coding {
        Coding::Gzip => gzip(level, pieces, out),
        Coding::Br => brotli(level, length, pieces, out),
        Coding::Zstd => zstd(level, length, pieces, out),
    };
    encoded.ok().map(|out| out.bytes)
}

fn gzip(level: u32, pieces: &mut dyn Iterator<Item = &[u8]>, out: Shorter) -> io::Result<Shorter> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    encoder.finish()
}

fn brotli(
    level: u32,
    length: usize,
    pieces: &mut dyn Iterator<Item = &[u8]>,
    mut out: Shorter,
) -> io::Result<Shorter> {
    let quality = match level {
        9 if length <= BR_SHORT => 10,
        level => level,
    };
    let params = brotli::enc::BrotliEncoderParams {
        quality: quality as i32,
        lgwin: BR_WINDOW as i32,
        size_hint: length,
        ..Default::default()
    };
    let mut encoder = brotli::CompressorWriter::with_params(&mut out, 16 * 1024, &params);
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    // Closing writes the rest; an error of that is seen by what is missing.
    encoder.flush()?;
    drop(encoder);
    match out.bytes.len() < out.than {
        true => Ok(out),
        false => Err(too_long()),
    }
}

fn zstd(
    level: u32,
    length: usize,
    pieces: &mut dyn Iterator<Item = &[u8]>,
    out: Shorter,
) -> io::Result<Shorter> {
    let mut encoder = zstd::Encoder::new(out, level as i32)?;
    encoder.set_pledged_src_size(Some(length as u64))?;
    encoder.window_log(ZSTD_WINDOW)?;
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    encoder.finish()
}

/// Takes bytes as long as they are fewer than those that they stand for.
struct Shorter {
    bytes: Vec<u8>,
    than: usize,
}

impl Write for Shorter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() >= self.than {
            return Err(too_long());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long() -> io::Error {
    io::Error::other("the encoded form is not shorter")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Coding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::Decoder::new(bytes).and_then(|mut d| d.read_to_end(&mut out)),
        }
        .expect("it decodes");
        out
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_bytes_at_every_level() {
        let text: Vec<u8> = (0..40_000u32)
            .flat_map(|n| format!("<li>{}</li>", n % 977).into_bytes())
            .collect();
        for coding in Coding::ALL {
            let (least, most, default) = coding.levels();
            assert!((least..=most).contains(&default));
            for level in [least, default, most] {
                let mut pieces = text.chunks(10_007);
                let encoded = encode(coding, level, text.len(), &mut pieces).expect("shorter");
                assert!(encoded.len() * 4 < text.len(), "{coding:?} {level}");
                assert!(decode(coding, &encoded) == text, "{coding:?} {level}");
            }
        }
    }

    #[test]
    fn a_short_body_is_as_short_at_level_9_of_brotli_as_at_10() {
        let text: Vec<u8> = (0..6000u32)
            .map(|n| b"<li>status</li> "[(n * n % 977 % 16) as usize])
            .collect();
        let length = |level, size: usize| {
            let body = &text[..size];
            let encoded = encode(Coding::Br, level, size, &mut [body].into_iter());
            encoded.expect("shorter").len()
        };
        assert_eq!(length(9, BR_SHORT), length(10, BR_SHORT));
        assert!(length(8, BR_SHORT) > length(9, BR_SHORT));
        assert!(length(9, BR_SHORT + 1) > length(10, BR_SHORT + 1));
    }

    #[test]
    fn what_would_not_be_shorter_is_not_made() {
        let mut noise = 1u64;
        let mut next = || {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        };
        let bytes: Vec<u8> = (0..5_000).map(|_| next()).collect();
        for coding in Coding::ALL {
            let level = coding.levels().2;
            for bytes in [&bytes[..], b"a", b""] {
                let encoded = encode(coding, level, bytes.len(), &mut [bytes].into_iter());
                assert_eq!(encoded, None, "{coding:?}");
            }
        }
    }
}
