//! Files that are packed or in UTF-16: read as a stream, from the start on.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tally_adapter_csv::{CsvFile, Settings, byte_of};
use tally_ports::{Fault, Source, StopKind};

use crate::support::{
    COLUMNS, all_shown, file_of, header, next, open, payload, read, read_on, shown,
};

pub fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_ref()).unwrap();
    packed.finish().unwrap()
}

pub fn zstd(text: impl AsRef<[u8]>) -> Vec<u8> {
    // With a checksum, as the program zstd writes it.
    let mut packed = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packed.include_checksum(true).unwrap();
    packed.write_all(text.as_ref()).unwrap();
    packed.finish().unwrap()
}

fn wide(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(to_bytes).collect()
}

fn rows(count: usize) -> String {
    (0..count)
        .fold("id;amount;text\n".to_owned(), |rows, row| rows + &format!("{row};1,5;é{row}\n"))
}

#[tokio::test]
async fn the_text_is_read_as_that_of_a_plain_file() {
    let text =
        "id;amount;text\r\n1;2,5;é\r\n\r\n2;3;\"b\n\nb\"\n3;4\n\n4;5;\"c\n5;6;d\n6;7;\"é\"\n\n";
    let plain = read(text, &Settings::default()).await;
    let marked = format!("\u{feff}{text}");
    for packed in [
        gzip(text),
        zstd(text),
        gzip(&marked),
        wide(&marked, u16::to_le_bytes),
        wide(&marked, u16::to_be_bytes),
        gzip(wide(&marked, u16::to_le_bytes)),
        zstd(wide(&marked, u16::to_be_bytes)),
    ] {
        let found = read(&packed, &Settings::default()).await;
        assert_eq!(all_shown(&found), all_shown(&plain));
        for (found, plain) in found.iter().zip(&plain) {
            assert_eq!((payload(found), found.raw.line), (payload(plain), plain.raw.line));
            assert_eq!(header(found, "csv.encoding"), Some(&b"UTF-8"[..]));
            assert_eq!(header(found, "csv.header"), Some(&b"id;amount;text"[..]));
        }
    }
}

#[tokio::test]
async fn a_row_with_what_is_no_character_is_a_bad_row() {
    let mut content = wide("\u{feff}id;amount;text\n1;2;a\n2;3;", u16::to_le_bytes);
    content.extend(b"\x00\xd8");
    content.extend(wide("\n3;4;c\n", u16::to_le_bytes));
    let found = read(content, &Settings::default()).await;
    let bad = "encoding: line 3: column text is not valid UTF-16LE [2;3;\\xff]";
    assert_eq!(all_shown(&found), ["1|2|a", bad, "3|4|c"]);
}

#[tokio::test]
async fn utf_16_with_another_encoding_set_is_refused() {
    let file = file_of(wide("\u{feff}id;amount;text\n", u16::to_be_bytes));
    let settings = Settings { encoding: "latin1".to_owned(), ..Settings::default() };
    let stop = CsvFile::open(file.path(), &settings, COLUMNS).await.unwrap_err();
    let path = file.path().display();
    let problem = "starts with the byte order mark of UTF-16BE, but csv.encoding is windows-1252: set it to utf-8, \
                   as it becomes";
    assert_eq!((stop.kind, stop.message), (StopKind::Input, format!("{path} {problem}")));
}

#[tokio::test]
async fn the_fingerprint_is_that_of_the_packed_bytes() {
    let packed = gzip("id;amount;text\n1;2;a\n");
    let file = file_of(&packed);
    let file = open(&file, &Settings::default()).await;
    assert_eq!(file.fingerprint().await.unwrap(), blake3::hash(&packed).to_hex().to_string());
    assert_eq!(file.size(), packed.len() as u64);
}

#[tokio::test]
async fn resuming_at_any_cursor_reads_the_rest() {
    for packed in [
        gzip(rows(500)),
        zstd(rows(500)),
        wide(&format!("\u{feff}{}", rows(500)), u16::to_le_bytes),
    ] {
        let file = file_of(&packed);
        let file = open(&file, &Settings::default()).await;
        let whole = read_on(&file, 0, &Value::Null, 100).await.unwrap();
        assert_eq!(whole.len(), 500);
        let mut source = file.read_from(0, &Value::Null).await.unwrap();
        while let Some(batch) = next(&mut source, 70).await {
            let row = batch.last + 1;
            let rest = read_on(&file, row, &batch.cursor, 100).await.unwrap();
            let expected = &whole[usize::try_from(row).unwrap()..];
            assert_eq!(all_shown(&rest), all_shown(expected));
            assert!(byte_of(&batch.cursor).unwrap() <= file.size());
        }
    }
}

#[tokio::test]
async fn a_cursor_behind_the_end_is_refused() {
    let file = file_of(gzip("id;amount;text\n1;2;a\n"));
    let file = open(&file, &Settings::default()).await;
    let cursor = serde_json::json!({"byte": 1000, "line": 9});
    let fault = read_on(&file, 7, &cursor, 10).await.unwrap_err();
    assert!(matches!(&fault, Fault::Stop(stop) if stop.kind == StopKind::Data), "{fault}");
}

/// A file that is larger than what is read of it at the start, and damaged in its last part or cut off there.
#[tokio::test]
async fn the_rows_before_the_damage_are_read() {
    let text = rows(200_000);
    let (gzip, zstd) = (gzip(&text), zstd(&text));
    let cut = |packed: &[u8]| packed[..packed.len() * 3 / 4].to_vec();
    let wrong_sum = |packed: &[u8], at: usize| {
        let mut packed = packed.to_vec();
        let at = packed.len() - at;
        packed[at] ^= 1;
        packed
    };
    for (content, problem, is_whole) in [
        (cut(&gzip), "its gzip data is cut off", false),
        (cut(&zstd), "its zstd data is cut off", false),
        (gzip[..gzip.len() - 4].to_vec(), "its gzip data is cut off", true),
        // The last eight bytes are the CRC and the length.
        (
            wrong_sum(&gzip, 8),
            "its gzip data is damaged: corrupt gzip stream does not have a matching checksum",
            true,
        ),
        (
            wrong_sum(&zstd, 1),
            "its zstd data is damaged: Restored data doesn't match checksum",
            true,
        ),
    ] {
        let temporary = file_of(&content);
        let file = open(&temporary, &Settings::default()).await;
        let mut source = file.read_from(0, &Value::Null).await.unwrap();
        let (mut read, mut line) = (0, 2);
        let fault = loop {
            // A number of rows that leaves some for the last batch.
            match source.next_batch(999).await {
                Ok(Some(batch)) => {
                    for item in &batch.items {
                        assert_eq!(shown(item), format!("{read}|1,5|é{read}"));
                        read += 1;
                        line += 1;
                    }
                }
                Ok(None) => panic!("{problem}: read to its end"),
                Err(fault) => break fault,
            }
        };
        assert!(if is_whole { read == 200_000 } else { (1000..200_000).contains(&read) }, "{read}");
        let path = temporary.path().display();
        let message = format!(
            "{path}: {problem}; row {read} (line {line}) and later ones were not used; get the file once more"
        );
        assert_eq!(fault, Fault::stop(StopKind::Data, message));
        assert_eq!(source.next_batch(1000).await.unwrap_err(), fault);
    }
}

#[tokio::test]
async fn damage_in_the_header_is_refused() {
    let packed = gzip("id;amount;text\n1;2;a\n");
    for (content, problem) in [
        (&packed[..14], "its gzip data is cut off"),
        (b"\x1f\x8b\x08rest", "its gzip data is cut off"),
        (b"\x1f\x8b\x09resting on nothing", "its gzip data is damaged: invalid gzip header"),
        (b"\x28\xb5\x2f\xfdrest", "its zstd data is cut off"),
    ] {
        let file = file_of(content);
        let stop = CsvFile::open(file.path(), &Settings::default(), COLUMNS).await.unwrap_err();
        let message = format!("{} cannot be read: {problem}", file.path().display());
        assert_eq!((stop.kind, stop.message), (StopKind::Input, message));
    }
    let twice = file_of(gzip(gzip("id;amount;text\n")));
    let stop = CsvFile::open(twice.path(), &Settings::default(), COLUMNS).await.unwrap_err();
    assert!(stop.message.ends_with("is compressed with gzip: unpack it first"), "{}", stop.message);
}
