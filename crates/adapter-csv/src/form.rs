//! What a file's bytes are before they are text that framing can look into: packed, or UTF-16.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

/// How much UTF-16 is transcoded at once.
const CHUNK: usize = 64 * 1024;

/// What stands for two bytes that are no character in UTF-16: no byte of UTF-8, so that their row is not valid either.
const MALFORMED: u8 = 0xff;

use tally_ports::Content;

/// What a file's bytes are. A plain file's are text as they are; any other is read as a stream, from its start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub packing: Option<Packing>,
    /// UTF-16 in one of its byte orders, which its byte order mark tells.
    pub wide: Option<&'static Encoding>,
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// As a file's first bytes tell.
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"\x1f\x8b") {
            Some(Self::Gzip)
        } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Form {
    pub const fn is_plain(self) -> bool {
        self.packing.is_none() && self.wide.is_none()
    }

    /// UTF-16, as the first bytes of a text tell.
    pub fn wide(head: &[u8]) -> Option<&'static Encoding> {
        [(UTF_16LE, b"\xff\xfe"), (UTF_16BE, b"\xfe\xff")]
            .into_iter()
            .find(|(_, mark)| head.starts_with(*mark))
            .map(|(encoding, _)| encoding)
    }

    /// The text of a file, from its start on; `passed` counts the bytes of the file that were read for it.
    pub fn open(
        self,
        file: &Arc<dyn Content>,
        passed: &Arc<AtomicU64>,
    ) -> io::Result<Box<dyn Read + Send>> {
        passed.store(0, Ordering::Relaxed);
        let raw = Raw { file: Arc::clone(file), passed: Arc::clone(passed) };
        let unpacked: Box<dyn Read + Send> = match self.packing {
            None => Box::new(raw),
            Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(raw)),
            #[cfg(feature = "zstd")]
            Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::new(raw)?),
            #[cfg(not(feature = "zstd"))]
            Some(Packing::Zstd) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(match self.wide {
            None => unpacked,
            Some(encoding) => Box::new(Transcoded::new(unpacked, encoding)),
        })
    }

    /// Why a text ends with this error.
    pub fn problem(self, error: &io::Error) -> String {
        let name = self.packing.map_or("", Packing::name);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("its {name} data is cut off"),
            io::ErrorKind::Unsupported => format!(
                "it is packed with {name}, and this program was built without the feature `kafka`, which brings that: \
                 unpack it first"
            ),
            _ => format!("its {name} data is damaged: {error}"),
        }
    }
}

/// A file's bytes, read by position, so that others may read the same open file.
struct Raw {
    file: Arc<dyn Content>,
    passed: Arc<AtomicU64>,
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.passed.load(Ordering::Relaxed);
        let left = usize::try_from(self.file.size() - at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..wanted], at)?;
        self.passed.store(at + read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// UTF-16 as UTF-8, its byte order mark too.
struct Transcoded {
    wide: Box<dyn Read + Send>,
    decoder: Decoder,
    input: Vec<u8>,
    /// How much of the input there is, and how much of that was transcoded.
    filled: usize,
    taken: usize,
    is_last: bool,
    output: Vec<u8>,
    /// How much of the output was handed on.
    given: usize,
    is_done: bool,
}

impl Transcoded {
    fn new(wide: Box<dyn Read + Send>, encoding: &'static Encoding) -> Self {
        Self {
            wide,
            decoder: encoding.new_decoder_without_bom_handling(),
            input: vec![0; CHUNK],
            filled: 0,
            taken: 0,
            is_last: false,
            output: Vec::new(),
            given: 0,
            is_done: false,
        }
    }

    fn transcode(&mut self) {
        self.output.resize(2 * CHUNK, 0);
        self.given = 0;
        let source = &self.input[self.taken..self.filled];
        let decoder = &mut self.decoder;
        let (result, taken, written) =
            decoder.decode_to_utf8_without_replacement(source, &mut self.output, self.is_last);
        self.taken += taken;
        self.output.truncate(written);
        match result {
            DecoderResult::InputEmpty => self.is_done = self.is_last,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => self.output.push(MALFORMED),
        }
    }
}

impl Read for Transcoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            if self.is_done {
                return Ok(0);
            }
            if self.taken == self.filled && !self.is_last {
                (self.taken, self.filled) = (0, 0);
                self.filled = self.wide.read(&mut self.input)?;
                self.is_last = self.filled == 0;
            }
            self.transcode();
        }
        let read = buffer.len().min(self.output.len() - self.given);
        buffer[..read].copy_from_slice(&self.output[self.given..self.given + read]);
        self.given += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::content::OpenFile;

    /// The text of a file with these bytes, read in small pieces.
    fn text_of(content: &[u8], form: Form) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let file: Arc<dyn Content> = Arc::new(OpenFile::new(file).unwrap());
        let passed = Arc::default();
        let mut reader = form.open(&file, &passed)?;
        let mut text = Vec::new();
        let mut piece = [0; 7];
        loop {
            match reader.read(&mut piece)? {
                0 => break,
                read => text.extend_from_slice(&piece[..read]),
            }
        }
        assert_eq!(passed.load(Ordering::Relaxed), content.len() as u64);
        Ok(text)
    }

    fn wide(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn utf_16_becomes_utf_8() {
        let text = "\u{feff}id;é€𝄞\r\n".repeat(20_000);
        for (encoding, to_bytes) in
            [(UTF_16LE, u16::to_le_bytes as fn(u16) -> [u8; 2]), (UTF_16BE, u16::to_be_bytes)]
        {
            let content = wide(&text, to_bytes);
            assert_eq!(Form::wide(&content), Some(encoding));
            let form = Form { packing: None, wide: Some(encoding) };
            assert!(text_of(&content, form).unwrap() == text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_character_is_no_utf_8() {
        let form = Form { packing: None, wide: Some(UTF_16LE) };
        assert_eq!(text_of(b"a\0\x00\xd8b\0", form).unwrap(), b"a\xffb");
        assert_eq!(text_of(b"a\0\x00\xdcb\0\x00\xd8", form).unwrap(), b"a\xffb\xff");
        assert_eq!(text_of(b"a\0b", form).unwrap(), b"a\xff");
    }

    #[test]
    fn packed_parts_follow_each_other() {
        let gzip = |text: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(text).unwrap();
            packed.finish().unwrap()
        };
        let zstd = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
        let gzipped = [gzip(b"id;"), gzip(b"amount")].concat();
        let compressed = [zstd(b"id;"), zstd(b"amount")].concat();
        for (packing, content) in [(Packing::Gzip, gzipped), (Packing::Zstd, compressed)] {
            assert_eq!(Packing::of(&content), Some(packing));
            let form = Form { packing: Some(packing), wide: None };
            assert_eq!(text_of(&content, form).unwrap(), b"id;amount");
            let cut = text_of(&content[..content.len() - 1], form).unwrap_err();
            assert_eq!(form.problem(&cut), format!("its {} data is cut off", packing.name()));
        }
    }
}
