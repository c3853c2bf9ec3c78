//! Encodings by name.

use encoding_rs::Encoding;
use tally_ports::{Stop, StopKind};

/// The encoding that `label` names. Framing looks for quotes, delimiters and line ends in the raw bytes; so ASCII
/// bytes must be ASCII in it. (In the multi-byte encodings left, the second byte of a character may be ASCII, but none
/// of those: they are at least 0x30 and no `;`.)
pub fn by_label(label: &str) -> Result<&'static Encoding, Stop> {
    let wrong = |problem| Stop {
        kind: StopKind::Setting,
        message: format!("csv.encoding {label:?} {problem}"),
    };
    let encoding = Encoding::for_label(label.as_bytes())
        .ok_or_else(|| wrong("is unknown: use a label of the WHATWG encoding standard, such as utf-8 or windows-1252"))?;
    if !encoding.is_ascii_compatible() {
        return Err(wrong(
            "is not compatible with ASCII: convert the file, for example with iconv -t UTF-8; one in UTF-16 that begins \
             with its byte order mark is read as it is, with csv.encoding utf-8",
        ));
    }
    Ok(encoding)
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
                "csv.encoding \"utf-16\" is not compatible with ASCII: convert the file, for example with iconv -t UTF-8; one in UTF-16 that begins \
                 with its byte order mark is read as it is, with csv.encoding utf-8",
            ),
        );
        check(
            "iso-2022-jp",
            Err(
                "csv.encoding \"iso-2022-jp\" is not compatible with ASCII: convert the file, for example with iconv -t UTF-8; one in UTF-16 that begins \
                 with its byte order mark is read as it is, with csv.encoding utf-8",
            ),
        );
        check(
            "ebcdic",
            Err(
                "csv.encoding \"ebcdic\" is unknown: use a label of the WHATWG encoding standard, such as utf-8 or windows-1252",
            ),
        );
    }
}
