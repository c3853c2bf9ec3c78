//! Bytes of records, as text and in JSON.

use std::fmt::Write as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How many bytes a line of a hexadecimal dump has.
const PER_LINE: usize = 16;

/// Bytes as JSON holds them, and their encoding: `utf8`, `base64` or `none`.
pub fn encoded(bytes: Option<&[u8]>) -> (Option<String>, &'static str) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, "none"),
        Some((_, Ok(text))) => (Some(text.to_owned()), "utf8"),
        Some((bytes, Err(_))) => (Some(BASE64_STANDARD.encode(bytes)), "base64"),
    }
}

/// Without the part of a character at the end, where bytes were cut.
pub fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// In one line: the text, or hexadecimal where it is not printable text.
pub fn inline(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some([]) => "(empty)".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => hex(bytes),
        },
    }
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut hex, byte| {
        let _never_fails = write!(hex, "{byte:02x}");
        hex
    })
}

/// In several lines.
pub fn block(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|char| char.is_control() && char != '\n' && char != '\t') => {
            let mut block: String =
                text.split('\n').fold(String::new(), |block, line| block + "  " + line + "\n");
            if block.trim().is_empty() {
                block.clear();
            }
            block
        }
        _ => dump(bytes),
    }
}

fn dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, chunk) in bytes.chunks(PER_LINE).enumerate() {
        let _never_fails = write!(dump, "  {:08x} ", line * PER_LINE);
        for place in 0..PER_LINE {
            let _never_fails = match chunk.get(place) {
                Some(byte) => write!(dump, " {byte:02x}"),
                None => write!(dump, "   "),
            };
        }
        let shown = |&byte: &u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
        let text: String = chunk.iter().map(shown).collect();
        let _never_fails = writeln!(dump, "  |{text}|");
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_text_and_all_else_as_hexadecimal() {
        assert_eq!(inline(Some("7é".as_bytes())), "7é");
        assert_eq!(inline(Some(b"a\x1b[31m")), "0x611b5b33316d");
        assert_eq!((&*inline(Some(b"")), &*inline(None)), ("(empty)", "-"));
        assert_eq!(block("1;\"a\n\tb\"".as_bytes()), "  1;\"a\n  \tb\"\n");
        let expected = "  00000000  37 3b ff 00 61 62 63 64 65 66 67 68 69 6a 6b 6c  |7;..abcdefghijkl|\n  \
            00000010  6d                                               |m|\n";
        assert_eq!(block(b"7;\xff\0abcdefghijklm"), expected);
    }

    #[test]
    fn json_tells_how_to_read_it() {
        assert_eq!(encoded(Some("é".as_bytes())), (Some("é".to_owned()), "utf8"));
        assert_eq!(encoded(Some(b"\xff")), (Some("/w==".to_owned()), "base64"));
        assert_eq!(encoded(None), (None, "none"));
        assert_eq!(whole_characters(b"a\xc3"), b"a");
        assert_eq!(whole_characters(b"a\xffb"), b"a\xffb");
    }
}
