use std::io::Write;

use super::*;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn packed(codec: Codec, bytes: &[u8]) -> Bytes {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        Codec::Lz4 => {
            let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().0
        }
        Codec::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
    .into()
}

/// In xerial's framing, as blocks of this size.
fn xerial(bytes: &[u8], block: usize) -> Bytes {
    let mut framed = [snappy::XERIAL, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    for block in bytes.chunks(block) {
        let packed = packed(Codec::Snappy, block);
        framed.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
        framed.extend(packed);
    }
    framed.into()
}

fn words(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"an ordinary text, "[at % 18]).collect()
}

#[test]
fn what_fits_the_limit_is_unpacked() {
    for length in [0, 1, 100, FIRST_PIECE, FIRST_PIECE + 1, 300_000] {
        let bytes = words(length);
        for codec in CODECS {
            assert_eq!(
                codec.unpack(&packed(codec, &bytes), length).unwrap(),
                bytes,
                "{codec} {length}"
            );
        }
        assert_eq!(Codec::Snappy.unpack(&xerial(&bytes, 32_768), length).unwrap(), bytes);
    }
}

#[test]
fn what_is_over_the_limit_is_refused_with_its_size() {
    let bytes = words(300_000);
    for codec in CODECS {
        let found = codec.unpack(&packed(codec, &bytes), 299_999).unwrap_err();
        let expected = Broken::TooLarge { codec, size: 300_000, is_exact: true, limit: 299_999 };
        assert_eq!(found, expected);
    }
    let found = Codec::Snappy.unpack(&xerial(&bytes, 10_000), 1000).unwrap_err();
    assert!(matches!(found, Broken::TooLarge { size: 300_000, is_exact: true, .. }), "{found}");
    let found = Codec::Zstd.unpack(&packed(Codec::Zstd, &bytes), 1000).unwrap_err();
    assert!(found.to_string().starts_with("its records take more than "), "{found}");
}

#[test]
fn what_is_cut_off_is_refused() {
    let bytes = words(300_000);
    for codec in &CODECS[1..] {
        let whole = packed(*codec, &bytes);
        for cut in 1..20 {
            let found = codec.unpack(&whole.slice(..whole.len() - cut), 1 << 20);
            assert!(matches!(found, Err(Broken::Packed { .. })), "{codec} {cut}");
        }
    }
    let whole = xerial(&bytes, 10_000);
    let found = Codec::Snappy.unpack(&whole.slice(..whole.len() - 1), 1 << 20).unwrap_err();
    assert_eq!(found.to_string(), "its snappy bytes cannot be unpacked: a block of it is cut off");
}
