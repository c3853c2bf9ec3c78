//! From a path to an open file that is worth reading on.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use tally_ports::dead_letter::PAYLOAD_LIMIT;

use crate::compare::Stamp;
use crate::decimal;
use crate::window::read_at;

/// More than a header may have, and then as much as the decimal separator is told from.
const HEAD: usize = PAYLOAD_LIMIT + 2 + decimal::LOOK_AT;

/// An open file and how it begins.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub stamp: Stamp,
    /// Its first bytes.
    pub head: Vec<u8>,
    /// Whether these are all.
    pub whole: bool,
}

/// Opens a file that is neither empty nor obviously something else than text. The error says all.
pub fn open(path: &Path) -> Result<Opened, String> {
    let shown = path.display();
    let cannot_open = |error| format!("cannot open {shown}: {}", in_words(&error));
    let metadata = fs::metadata(path).map_err(cannot_open)?;
    if metadata.is_dir() {
        return Err(format!("cannot read {shown}: it is a folder; name the files in it"));
    }
    // Opening a pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(format!(
            "cannot read {shown}: it is no regular file and cannot be read twice; copy it to one"
        ));
    }
    let file = File::open(path).map_err(cannot_open)?;
    let stamp = Stamp::of(&file.metadata().map_err(cannot_open)?);
    if stamp.size == 0 {
        return Err(format!("{shown} is empty"));
    }
    let size = usize::try_from(stamp.size).unwrap_or(usize::MAX);
    let mut head = vec![0; size.min(HEAD)];
    read_at(&file, &mut head, 0)
        .map_err(|error| format!("cannot read {shown}: {}", in_words(&error)))?;
    if let Some(problem) = signature(&head) {
        return Err(format!("{shown} {problem}"));
    }
    let whole = head.len() == size;
    Ok(Opened { file, stamp, head, whole })
}

/// An error of the operating system, without its number where it is a common one.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => error.to_string(),
    }
}

/// What a file's first bytes say against it.
fn signature(head: &[u8]) -> Option<String> {
    const COMPRESSED: [(&str, &[u8]); 7] = [
        ("gzip", b"\x1f\x8b"),
        ("zip (as a workbook is)", b"PK\x03\x04"),
        ("zip", b"PK\x05\x06"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("bzip2", b"BZh"),
        ("xz", b"\xfd7zXZ\0"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
    ];
    const WIDE: [(&str, &[u8]); 4] = [
        ("UTF-32", b"\xff\xfe\0\0"),
        ("UTF-32", b"\0\0\xfe\xff"),
        ("UTF-16", b"\xff\xfe"),
        ("UTF-16", b"\xfe\xff"),
    ];
    for (name, magic) in COMPRESSED {
        // The letters alone might begin a header.
        let is_bzip2_block =
            head.get(3).is_some_and(u8::is_ascii_digit) && head.get(4..6) == Some(b"1A".as_slice());
        if head.starts_with(magic)
            && (name != "bzip2" || is_bzip2_block || head.get(4) == Some(&0x17))
        {
            return Some(format!("is compressed with {name}: unpack it first"));
        }
    }
    let (name, _) = WIDE.iter().find(|(_, magic)| head.starts_with(magic))?;
    Some(format!("is {name}: convert it first, with iconv -f {name} -t UTF-8"))
}
