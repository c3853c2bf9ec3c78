//! Where a header starts.

use encoding_rs::Encoding;

use super::{DELIMITERS, UTF_8_BOM};
use crate::framing::physical_line;

/// The start of a header.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub byte: usize,
    /// The physical line, from 1.
    pub line: u64,
    /// The delimiter that a line before it names.
    pub delimiter: Option<u8>,
}

impl Start {
    /// The first line that is not blank, after a byte order mark, `skip` lines and a line that names the delimiter. The error
    /// continues a sentence that begins with the file's name.
    pub fn find(
        head: &[u8],
        whole: bool,
        encoding: &'static Encoding,
        skip: usize,
    ) -> Result<Self, String> {
        let mut start = Self { byte: 0, line: 1, delimiter: None };
        if head.starts_with(UTF_8_BOM) {
            if encoding != encoding_rs::UTF_8 {
                let name = encoding.name();
                return Err(format!(
                    "starts with the byte order mark of UTF-8, but csv.encoding is {name}: set it to utf-8"
                ));
            }
            start.byte = UTF_8_BOM.len();
        }
        start.pass_named_delimiter(head, whole)?;
        while start.line <= skip as u64 {
            let Some(next) = physical_line(&head[start.byte..], whole).map(|(_, next)| next) else {
                return Err(format!(
                    "has more than 1 MiB in the lines that csv.skip_lines leaves out: it is {skip}"
                ));
            };
            if next == 0 {
                let lines = start.line - 1;
                return Err(format!("has {lines} lines, and csv.skip_lines leaves out {skip}"));
            }
            start.pass(next);
        }
        start.pass_blank(head);
        start.pass_named_delimiter(head, whole)?;
        start.pass_blank(head);
        Ok(start)
    }

    fn pass(&mut self, bytes: usize) {
        self.byte += bytes;
        self.line += 1;
    }

    fn pass_blank(&mut self, head: &[u8]) {
        loop {
            match &head[self.byte..] {
                [b'\n', ..] => self.pass(1),
                [b'\r', b'\n', ..] => self.pass(2),
                _ => return,
            }
        }
    }

    /// Passes a line like `sep=;`, which Excel writes and reads.
    fn pass_named_delimiter(&mut self, head: &[u8], whole: bool) -> Result<(), String> {
        let Some((len, next)) = physical_line(&head[self.byte..], whole) else { return Ok(()) };
        let line = &head[self.byte..self.byte + len];
        let unquoted = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\""));
        let Some((sep, rest)) = unquoted.unwrap_or(line).split_at_checked(b"sep=".len()) else {
            return Ok(());
        };
        // Saved once more it has the delimiter as often as the table has columns.
        let Some(&named) = rest.first().filter(|first| rest.iter().all(|byte| byte == *first))
        else {
            return Ok(());
        };
        if !sep.eq_ignore_ascii_case(b"sep=") {
            return Ok(());
        }
        if !DELIMITERS.contains(&named) {
            return Err(format!(
                "names the delimiter {} in its line {} (sep=), which is not one of ; , | and the tab",
                named.escape_ascii(),
                self.line
            ));
        }
        self.delimiter = Some(named);
        self.pass(next);
        Ok(())
    }
}
