//! From bytes to text.

use csv_async::{ByteRecord, StringRecord};
use encoding_rs::{Encoding, UTF_8};
use tally_ports::{Stop, StopKind};

/// The encoding that `label` names. Framing looks for quotes, delimiters and line ends in the raw bytes; so ASCII
/// bytes must be ASCII in it. (In the multi-byte encodings left, the second byte of a character may be ASCII, but none
/// of those: they are at least 0x30 and no `;`.)
pub fn by_label(label: &str) -> Result<&'static Encoding, Stop> {
    let wrong = |problem| Stop {
        kind: StopKind::Setting,
        message: format!("encoding {label:?} {problem}"),
    };
    let encoding = Encoding::for_label(label.as_bytes())
        .ok_or_else(|| wrong("is unknown: use a label of the WHATWG encoding standard, such as utf-8 or windows-1252"))?;
    if !encoding.is_ascii_compatible() {
        return Err(wrong(
            "is not compatible with ASCII: convert the file first, for example with iconv -t UTF-8",
        ));
    }
    Ok(encoding)
}

/// A record with a field that is not in the encoding.
pub struct Undecodable {
    /// The fields' bytes.
    pub record: ByteRecord,
    /// The first such field.
    pub field: usize,
}

/// The record as text.
pub fn decode(
    encoding: &'static Encoding,
    record: ByteRecord,
) -> Result<StringRecord, Undecodable> {
    if encoding == UTF_8 {
        return StringRecord::from_byte_record(record).map_err(|error| {
            let field = error.utf8_error().field();
            Undecodable { record: error.into_byte_record(), field }
        });
    }
    let mut text = StringRecord::with_capacity(record.as_slice().len(), record.len());
    for (field, bytes) in record.iter().enumerate() {
        match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(decoded) => text.push_field(&decoded),
            None => return Err(Undecodable { record, field }),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(label: &str, expected: Result<&str, &str>) {
        let found = by_label(label);
        let found = match &found {
            Ok(encoding) => Ok(encoding.name()),
            Err(stop) => {
                assert_eq!(stop.kind, StopKind::Setting);
                Err(stop.message.as_str())
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn by_name() {
        check("utf-8", Ok("UTF-8"));
        check(" UTF8 ", Ok("UTF-8"));
        check("latin1", Ok("windows-1252"));
        check("Windows-1252", Ok("windows-1252"));
        check("shift_jis", Ok("Shift_JIS"));
        check(
            "utf-16",
            Err(
                "encoding \"utf-16\" is not compatible with ASCII: convert the file first, for example with iconv -t UTF-8",
            ),
        );
        check(
            "iso-2022-jp",
            Err(
                "encoding \"iso-2022-jp\" is not compatible with ASCII: convert the file first, for example with iconv -t UTF-8",
            ),
        );
        check(
            "ebcdic",
            Err(
                "encoding \"ebcdic\" is unknown: use a label of the WHATWG encoding standard, such as utf-8 or windows-1252",
            ),
        );
    }

    #[test]
    fn every_field_must_be_in_the_encoding() {
        let field = |encoding, fields: &[&[u8]]| {
            decode(encoding, ByteRecord::from(fields.to_vec()))
                .map(|text| text.iter().collect::<String>())
                .map_err(|e| e.field)
        };
        assert_eq!(field(UTF_8, &[b"a", b"\xc3\xa9"]), Ok("aé".to_owned()));
        assert_eq!(field(UTF_8, &[b"a", b"\xe9"]), Err(1));
        assert_eq!(field(UTF_8, &[b"\xc3", b"\xa9"]), Err(0));
        assert_eq!(field(encoding_rs::WINDOWS_1252, &[b"a", b"\xe9\x80"]), Ok("aé€".to_owned()));
        assert_eq!(field(encoding_rs::SHIFT_JIS, &[b"a", b"\x83\x65"]), Ok("aテ".to_owned()));
        assert_eq!(field(encoding_rs::SHIFT_JIS, &[b"\x83", b"\x65"]), Err(0));
    }
}
