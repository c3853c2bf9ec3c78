//! Random tables against what they were made from, and random damage.

use csv_async::{AsyncWriterBuilder, QuoteStyle};
use serde_json::Value;
use tally_adapter_csv::{Decimal, Settings};

use crate::support::{file_of, open, payload, read_on, text};

/// Xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 12] =
            ["a", "é", "\"", ";", ",", "\n", "\r\n", " ", "\t", "€", "0", "\u{1f600}"];
        let len = self.below(6);
        (0..len).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

/// Whether a row would be blank by this field.
fn is_blank(field: &str) -> bool {
    field.bytes().all(|byte| matches!(byte, b' ' | b'\t'))
}

fn point() -> Settings {
    Settings { decimal: Decimal::Point, ..Settings::default() }
}

#[tokio::test]
async fn good_rows_are_read_as_they_were_written() {
    for seed in 1..=40 {
        let mut random = Random::new(seed);
        let delimiter = *b";,\t".get(random.below(3)).unwrap();
        let quotes =
            [QuoteStyle::Always, QuoteStyle::Necessary, QuoteStyle::NonNumeric][random.below(3)];
        let crlf = random.below(2) == 0;
        let mut builder = AsyncWriterBuilder::new();
        builder.delimiter(delimiter).quote_style(quotes);
        if crlf {
            builder.terminator(csv_async::Terminator::CRLF);
        }
        let mut writer = builder.create_writer(Vec::new());
        writer.write_record(["text", "id", "amount"]).await.unwrap();
        let mut records = Vec::new();
        for _ in 0..500 {
            let record = [(); 3].map(|()| random.text());
            if record.iter().all(|field| is_blank(field)) {
                continue;
            }
            let [id, amount, text] = &record;
            writer.write_record([text, id, amount]).await.unwrap();
            records.push(record);
        }
        let content = writer.into_inner().await.unwrap();

        let file = file_of(&content);
        let file = open(&file, &point()).await;
        let limit = 1 + random.below(200);
        let items = read_on(&file, 0, &Value::Null, limit).await.unwrap();
        assert_eq!(items.len(), records.len(), "seed {seed}");
        for (item, record) in items.iter().zip(&records) {
            let found = item.content.as_ref().unwrap().iter().map(text);
            assert!(found.eq(record), "seed {seed}: {item:?} instead of {record:?}");
        }
    }
}

/// Whatever bytes follow the header, every one of them is in a payload, in order, or part of a line end or of a blank row,
/// which is counted.
#[tokio::test]
async fn no_byte_is_lost() {
    const PIECES: [&[u8]; 10] =
        [b"1;2;a\n", b"\"", b";", b"\n", b"\r\n", b"\r", b"x", b"\xff", b"\"\"", b"1;\"2\n\";a\n"];
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let len = random.below(200);
        let rows: Vec<u8> =
            (0..len).flat_map(|_| PIECES[random.below(PIECES.len())]).copied().collect();
        let file = file_of([b"id;amount;text\n".as_slice(), &rows].concat());
        let file = open(&file, &point()).await;
        let items = read_on(&file, 0, &Value::Null, 1 + random.below(20)).await.unwrap();
        let mut rest = rows.as_slice();
        let mut blank = 0;
        let mut skip_blank = |rest: &mut &[u8]| {
            while let Some(behind) = behind_blank(rest) {
                *rest = behind;
                blank += 1;
            }
        };
        for item in &items {
            skip_blank(&mut rest);
            let behind = rest.strip_prefix(payload(item));
            let behind = behind.unwrap_or_else(|| panic!("seed {seed}"));
            rest = behind.strip_prefix(b"\r").unwrap_or(behind);
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        skip_blank(&mut rest);
        assert!(rest.is_empty(), "seed {seed}");
        assert_eq!(file.blank_rows(), blank, "seed {seed}");
    }
}

/// What follows a first line that is a blank row.
fn behind_blank(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    let is_blank = line.split(|&byte| byte == b';').all(|field| matches!(field, b"" | b"\"\""));
    (is_blank && !rest.is_empty()).then(|| &rest[rest.len().min(end + 1)..])
}
