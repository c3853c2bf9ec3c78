//! Decimal comma or point.

use csv_async::{ByteRecord, StringRecord};
use memchr::memchr2;

use crate::framing::{Frame, Framing};
use crate::split::Feed;

/// How many bytes of rows the separator is told from.
pub const LOOK_AT: usize = 256 * 1024;

/// Whether the first number that tells has a decimal comma, among these columns of the rows in `bytes`, the file's
/// last if `whole`.
pub async fn first_comma(
    mut bytes: &[u8],
    whole: bool,
    framing: Framing,
    columns: &[usize],
) -> Option<bool> {
    let mut feed = Feed::with_capacity(bytes.len());
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let next = match framing.frame(bytes, whole) {
            Frame::Blank { next } | Frame::Bad { line: Some((_, next)), .. } => next,
            Frame::Record { len, next, fields, .. } => {
                feed.push(&bytes[..len]);
                records.push((len, fields));
                next
            }
            Frame::Bad { line: None, .. } | Frame::More => break,
        };
        bytes = &bytes[next..];
    }

    let mut record = ByteRecord::new();
    let mut splitter = feed.split(framing.delimiter);
    for (len, fields) in records {
        splitter.next(&mut record, len, fields).await.ok()?;
        let told = columns.iter().filter_map(|&column| record.get(column)).find_map(comma_in);
        if told.is_some() {
            return told;
        }
    }
    None
}

/// Whether `text` has a decimal comma (`true`) or point, as in `[+-]?digits[.,]digits{1,2}`; `None` when it is
/// nothing of the kind.
pub fn comma_in(text: &[u8]) -> Option<bool> {
    let text = text.trim_ascii();
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let separator = memchr2(b',', b'.', unsigned)?;
    let (whole, decimals) = (&unsigned[..separator], &unsigned[separator + 1..]);
    let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let fits = !whole.is_empty()
        && all_digits(whole)
        && matches!(decimals.len(), 1 | 2)
        && all_digits(decimals);
    fits.then(|| unsigned[separator] == b',')
}

/// Copies `record` to `swapped`, with commas and points exchanged in these columns. So a point in a file with decimal
/// commas becomes what a comma is in any other file: an error.
pub fn swap(record: &StringRecord, columns: &[usize], swapped: &mut StringRecord) {
    swapped.clear();
    for (index, field) in record.iter().enumerate() {
        if columns.contains(&index) {
            swapped.push_field(&exchange(field));
        } else {
            swapped.push_field(field);
        }
    }
}

fn exchange(field: &str) -> String {
    let exchange_char = |char| match char {
        ',' => '.',
        '.' => ',',
        other => other,
    };
    field.chars().map(exchange_char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<bool>) {
        assert_eq!(comma_in(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn told_from_a_number_with_one_or_two_decimals() {
        check("12,34", Some(true));
        check("-0,5", Some(true));
        check("+12.34", Some(false));
        check(" 1.5 ", Some(false));
    }

    #[test]
    fn nothing_else_tells() {
        for text in
            ["", "12", "12,", ",5", "1,234", "1.234,56", "1,2.3", "a,b", "1,b", "--1,2", "1 000,50"]
        {
            check(text, None);
        }
    }

    #[test]
    fn commas_and_points_change_places() {
        let mut swapped = StringRecord::new();
        swap(&StringRecord::from(vec!["1,5", "1.234,56", "2.5", "é,."]), &[1, 2, 3], &mut swapped);
        assert_eq!(swapped, vec!["1,5", "1,234.56", "2,5", "é.,"]);
    }
}
