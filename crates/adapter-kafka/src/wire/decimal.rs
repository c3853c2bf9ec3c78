//! Decimal numbers, exact. As plain texts: digits, perhaps a point, perhaps a minus.

use std::fmt::Write;

use tally_domain::{Decimal, Field};

use super::broken::Broken;

/// The furthest that a number is written out: a greater or smaller one becomes one of this many zeros, which no column
/// holds either.
const FURTHEST: i64 = 128;
/// The longest two's complement number that is read. More than three hundred digits.
const LONGEST: usize = 128;

/// A JSON number without its exponent: `1.2e3` is `1200`, `1.5e-1` is `0.15`. Zeros at the end of what has an exponent
/// are dropped. `None` for a number without one.
///
/// An exponent cannot make the text long: beyond 128 zeros the number is another one, as much out of any column's range.
pub(super) fn written_out(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }

    let exponent = exponent.parse().unwrap_or_else(|_| {
        // More digits than fit.
        if exponent.starts_with('-') { i64::MIN } else { i64::MAX }
    });
    let dropped = length(all.len() - digits.len());
    let scale = length(fraction.len()).saturating_sub(dropped).saturating_sub(exponent);
    let digits = digits.trim_start_matches('0');
    Some(with_point(is_negative, digits, scale.clamp(-FURTHEST, furthest(digits))))
}

/// The number `unscaled / 10^scale`, with as many decimals; `unscaled` in two's complement, the highest byte first.
pub(super) fn scaled(unscaled: &[u8], scale: usize) -> Result<Field, Broken> {
    let is_negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
    let sign = if is_negative { 0xff } else { 0 };
    let padding = unscaled.iter().take_while(|&&byte| byte == sign).count();
    let bytes = &unscaled[padding..];
    if bytes.len() > LONGEST {
        return Err(Broken::new(format!("a decimal of more than {LONGEST} bytes")));
    }
    if let (true, Some(scale)) = (bytes.len() <= 8, small_scale(scale)) {
        let start = if is_negative { -1 } else { 0 };
        let unscaled = bytes.iter().fold(start, |value: i128, &byte| value << 8 | i128::from(byte));
        if let Ok(unscaled) = i64::try_from(unscaled) {
            return Ok(Field::Decimal(Decimal { unscaled, scale }));
        }
    }
    let digits = digits(bytes, is_negative);
    Ok(Field::Number(with_point(is_negative, &digits, length(scale)).into()))
}

/// The shortest two's complement of the number `digits` times `10^scale`, the highest byte first: what [`scaled`] reads.
pub(super) fn unscaled(digits: &str, scale: usize) -> Result<Vec<u8>, Broken> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > scale {
        return Err(Broken::new(format!("more than {scale} decimals")));
    }
    let unscaled: i128 = format!("{whole}{decimals:0<scale$}")
        .parse()
        .map_err(|_| Broken::new("expected a number of at most 38 digits"))?;
    let bytes = unscaled.to_be_bytes();
    let is_sign = |pair: &[u8]| matches!(pair, [0, 0..0x80] | [0xff, 0x80..=0xff]);
    let padding = bytes.windows(2).take_while(|pair| is_sign(pair)).count();
    Ok(bytes[padding..].to_vec())
}

/// The same number in so many bytes.
pub(super) fn padded(unscaled: &[u8], size: usize) -> Result<Vec<u8>, Broken> {
    let padding = size.checked_sub(unscaled.len());
    let padding = padding.ok_or_else(|| Broken::new(format!("does not fit {size} bytes")))?;
    let sign = if unscaled.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    Ok([&vec![sign; padding], unscaled].concat())
}

/// A scale that a [`Decimal`] can have.
fn small_scale(scale: usize) -> Option<u8> {
    u8::try_from(scale).ok().filter(|&scale| scale <= 18)
}

/// The digits of a number of any length without its sign.
fn digits(bytes: &[u8], is_negative: bool) -> String {
    /// The greatest power of ten whose remainder and one more byte fit a word.
    const GROUP: u64 = 10_000_000_000_000_000;
    const GROUP_DIGITS: usize = 16;

    let mut magnitude: Vec<u8> =
        bytes.iter().map(|&byte| if is_negative { !byte } else { byte }).collect();
    if is_negative {
        let zeros = magnitude.iter().rev().take_while(|&&byte| byte == 0xff).count();
        // One more than the complement.
        let kept = magnitude.len() - zeros;
        magnitude[kept..].fill(0);
        match kept.checked_sub(1) {
            Some(last) => magnitude[last] += 1,
            None => magnitude.insert(0, 1),
        }
    }

    let mut groups = Vec::new();
    while magnitude.iter().any(|&byte| byte != 0) {
        let mut remainder = 0;
        for byte in &mut magnitude {
            let value = remainder << 8 | u64::from(*byte);
            #[expect(clippy::cast_possible_truncation, reason = "a digit in base 256")]
            {
                *byte = (value / GROUP) as u8;
            }
            remainder = value % GROUP;
        }
        groups.push(remainder);
    }
    let mut text = groups.pop().unwrap_or_default().to_string();
    for group in groups.iter().rev() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{group:0GROUP_DIGITS$}");
    }
    text
}

/// `digits / 10^scale` with its point; `digits` have no zero in front, or are one.
fn with_point(is_negative: bool, digits: &str, scale: i64) -> String {
    let zeros = |count| std::iter::repeat_n('0', usize::try_from(count).unwrap_or_default());
    let mut text = String::with_capacity(digits.len() + 4);
    if is_negative {
        text.push('-');
    }
    let whole = length(digits.len()) - scale;
    if scale <= 0 {
        text.push_str(digits);
        text.extend(zeros(-scale));
    } else if whole > 0 {
        let (whole, fraction) = digits.split_at(usize::try_from(whole).unwrap_or_default());
        text.push_str(whole);
        text.push('.');
        text.push_str(fraction);
    } else {
        text.push_str("0.");
        text.extend(zeros(-whole));
        text.push_str(digits);
    }
    text
}

/// The greatest scale at which digits are written out.
fn furthest(digits: &str) -> i64 {
    length(digits.len()) + FURTHEST
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_written_out(number: &str, expected: &str) {
        assert_eq!(written_out(number).as_deref(), Some(expected), "{number}");
    }

    #[test]
    fn exponents_are_written_out_exactly() {
        check_written_out("1.2e3", "1200");
        check_written_out("1.5e-1", "0.15");
        check_written_out("-1.5E+2", "-150");
        check_written_out("12.34e0", "12.34");
        check_written_out("12.34e1", "123.4");
        check_written_out("12.34e-3", "0.01234");
        check_written_out("100e-2", "1");
        check_written_out("0.001e3", "1");
        check_written_out("0.10e-2", "0.001");
        check_written_out("1e00000000000000000000000000000000000000002", "100");
        check_written_out("0e5", "0");
        check_written_out("-0.00e-5", "0");
        check_written_out("99999999999999999999.5e1", "999999999999999999995");
    }

    #[test]
    fn numbers_without_one_are_left_as_they_are() {
        for number in ["0", "-0", "1.50", "007", "9007199254740993", "0.1"] {
            assert_eq!(written_out(number), None);
        }
    }

    #[test]
    fn an_exponent_cannot_make_the_text_long() {
        let zeros = "0".repeat(128);
        check_written_out("-7e1000000", &format!("-7{zeros}"));
        check_written_out("7e99999999999999999999999", &format!("7{zeros}"));
        check_written_out("70e-1000000", &format!("0.{zeros}7"));
        check_written_out("1.7e-99999999999999999999999", &format!("0.{zeros}17"));
    }

    #[track_caller]
    fn check_scaled(bytes: &[u8], scale: usize, expected: &str) {
        let scaled = scaled(bytes, scale).ok();
        let text = scaled.as_ref().and_then(Field::text);
        assert_eq!(text.as_deref(), Some(expected), "{bytes:?}");
    }

    #[test]
    fn unscaled_bytes_get_their_point() {
        check_scaled(&[], 2, "0.00");
        check_scaled(&[0], 0, "0");
        check_scaled(&[0xff], 2, "-0.01");
        check_scaled(&[0x80], 0, "-128");
        check_scaled(&[0, 0x80], 0, "128");
        check_scaled(&[0x04, 0xd2], 2, "12.34");
        check_scaled(&[0xfb, 0x2e], 2, "-12.34");
        check_scaled(&[0xff, 0xff, 0xff, 0xfb, 0x2e], 2, "-12.34");
        check_scaled(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04, 0xd2], 3, "1.234");
        check_scaled(&[0x04, 0xd2], 6, "0.001234");
        check_scaled(&[0xfb, 0x2e], 19, "-0.0000000000000001234");
    }

    #[test]
    fn what_fits_64_bits_is_a_decimal() {
        for (value, is_decimal) in [
            (i128::from(i64::MIN), true),
            (i128::from(i64::MAX), true),
            (1 << 56, true),
            (i128::from(i64::MAX) + 1, false),
            (i128::from(i64::MIN) - 1, false),
        ] {
            let field = scaled(&value.to_be_bytes(), 2).unwrap();
            assert_eq!(matches!(field, Field::Decimal(_)), is_decimal, "{value}");
        }
    }

    #[test]
    fn numbers_of_any_length_are_exact() {
        for value in [
            i128::MIN,
            i128::MIN + 1,
            i128::MAX,
            i128::from(i64::MIN),
            i128::from(i64::MAX),
            -10_000_000_000_000_000,
            10_000_000_000_000_000,
            -(1 << 56),
            1 << 56,
            -(1 << 120),
            (1 << 56) - 1,
            123_456_789_012_345_678_901_234_567_890,
        ] {
            check_scaled(&value.to_be_bytes(), 0, &value.to_string());
        }
        let two_to_the_160 = [&[1][..], &[0; 20]].concat();
        let digits = "1461501637330902918203684832716283019655932542976";
        check_scaled(&two_to_the_160, 0, digits);
        let minus_two_to_the_160 = [&[0xff][..], &[0; 20]].concat();
        check_scaled(&minus_two_to_the_160, 0, &format!("-{digits}"));
        assert!(scaled(&[0x7f; 128], 0).is_ok());
        assert!(scaled(&[0x7f; 129], 0).is_err());
    }
}
