//! From a path to an open file that is worth reading on.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use tally_ports::dead_letter::PAYLOAD_LIMIT;

use tally_ports::Content;

use crate::content::{OpenFile, read_at};
use crate::decimal;
use crate::form::{Form, Packing};

/// More than a header may have, and then as much as the decimal separator is told from.
const HEAD: usize = PAYLOAD_LIMIT + 2 + decimal::LOOK_AT;

/// Why a file and nothing else is read.
const TWICE: &str = "cannot be read twice, once for its hash and once for its rows";

/// An open file and how it begins.
#[derive(Debug)]
pub struct Opened {
    pub file: Arc<dyn Content>,
    pub form: Form,
    pub head: Head,
}

/// How a text begins.
#[derive(Debug)]
pub struct Head {
    pub bytes: Vec<u8>,
    /// Whether these are all.
    pub whole: bool,
}

/// Opens a file. The error says all.
pub fn open(path: &Path) -> Result<Arc<dyn Content>, String> {
    let shown = path.display();
    if path == Path::new("-") {
        return Err(format!(
            "cannot read -: standard input {TWICE}; save it to a file (./- is one of that name)"
        ));
    }
    let cannot_open = |error| format!("cannot open {shown}: {}", in_words(&error));
    let metadata = fs::metadata(path).map_err(cannot_open)?;
    if metadata.is_dir() {
        return Err(format!("cannot read {shown}: it is a folder; name the files in it"));
    }
    // Opening a pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(format!(
            "cannot read {shown}: it is no regular file and {TWICE}; copy it to one"
        ));
    }
    let file = File::open(path).and_then(OpenFile::new).map_err(cannot_open)?;
    Ok(Arc::new(file))
}

/// Looks at a file that is neither empty nor obviously something else than text; it is called `shown` in errors, which say all.
pub fn look(file: Arc<dyn Content>, shown: &str) -> Result<Opened, String> {
    if file.size() == 0 {
        return Err(format!("{shown} is empty"));
    }
    let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size.min(HEAD)];
    read_at(&*file, &mut bytes, 0)
        .map_err(|error| format!("cannot read {shown}: {}", in_words(&error)))?;
    let mut head = Head { whole: bytes.len() == size, bytes };

    let mut form = Form { packing: Packing::of(&head.bytes), wide: None };
    let read = |form: Form| {
        let read = head_of(&file, form);
        read.map_err(|error| format!("{shown} cannot be read: {}", form.problem(&error)))
    };
    if form.packing.is_some() {
        head = read(form)?;
    }
    if let Some(problem) = signature(&head.bytes) {
        return Err(format!("{shown} {problem}"));
    }
    form.wide = Form::wide(&head.bytes);
    if form.wide.is_some() {
        head = read(form)?;
    }
    Ok(Opened { file, form, head })
}

/// How the text of a file begins that has to be unpacked or transcoded: if that fails, the lines before.
fn head_of(file: &Arc<dyn Content>, form: Form) -> io::Result<Head> {
    let mut bytes = Vec::new();
    let text = form.open(file, &Arc::default())?;
    match text.take(HEAD as u64).read_to_end(&mut bytes) {
        Ok(read) => Ok(Head { whole: read < HEAD, bytes }),
        Err(_) if bytes.contains(&b'\n') => Ok(Head { whole: false, bytes }),
        Err(error) => Err(error),
    }
}

/// An error of the operating system, without its number where it is a common one.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => error.to_string(),
    }
}

/// What a text's first bytes say against it.
fn signature(head: &[u8]) -> Option<String> {
    const WORKBOOK: &str = "save as CSV in the program that shows it";
    const COMPRESSED: [(&str, &[u8]); 6] = [
        ("gzip", b"\x1f\x8b"),
        ("zip", b"PK\x05\x06"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("bzip2", b"BZh"),
        ("xz", b"\xfd7zXZ\0"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
    ];
    if head.starts_with(b"PK\x03\x04") {
        return Some(format!(
            "is compressed with zip, as an .xlsx workbook is: if it is one, {WORKBOOK}; else unpack it first"
        ));
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Some(format!("is an .xls workbook: {WORKBOOK}"));
    }
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
    let wide: [&[u8]; 2] = [b"\xff\xfe\0\0", b"\0\0\xfe\xff"];
    if wide.iter().any(|mark| head.starts_with(mark)) {
        return Some("is UTF-32: convert it first, with iconv -f UTF-32 -t UTF-8".to_owned());
    }
    None
}
