//! The text of an amount: its digits, and what its separators say.

use std::fmt;

use super::Notation;
use super::notation::DecimalSign;

/// What may stand between thousands besides comma and point: a blank, a no-break space, a narrow one, an apostrophe
/// and the typographic one.
const GROUP_SIGNS: [char; 5] = [' ', '\u{a0}', '\u{202f}', '\'', '\u{2019}'];
/// The minus sign of typography.
const MINUS: char = '\u{2212}';

/// What comma and point in the text of an amount say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separators {
    /// There is neither.
    None,
    /// It can mean one thing only, and has this decimal sign.
    Show(DecimalSign),
    /// One to three digits, this sign and three digits: decimals or thousands.
    Unclear(DecimalSign),
}

/// What comma and point in `text` say; `None` when it is not a sign, digits, and separators where they may be.
pub fn separators(text: &str) -> Option<Separators> {
    Text::split(text).ok().map(|text| text.separators)
}

/// Why a text is not read as an amount. Its `Display` continues a sentence that begins with what the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// `x`
    NotANumber,
    /// `(12,50)`
    Parentheses,
    /// `12,50-`
    SignBehind,
    /// `+12,50`
    Plus,
    /// U+2212 instead of the hyphen-minus.
    Minus,
    /// `12,50 €`
    CurrencySign,
    /// `EUR 12,50`
    CurrencyCode,
    /// `1e5`
    Exponent,
    /// `1,23,456.00`
    Groups,
    /// `12.50` in a file whose decimal sign is the comma.
    OtherSign {
        /// That of the text.
        found: DecimalSign,
    },
    /// `12,000` in a file that shows a decimal comma.
    MayBeThousands(DecimalSign),
    /// `12,000` in a file that does not show its decimal sign.
    Undecided,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "is not a decimal number",
            Self::Parentheses => "is in parentheses: write a minus before it instead",
            Self::SignBehind => "has its sign after the digits: put it in front",
            Self::Plus => "has a plus sign: leave it out",
            Self::Minus => "has the minus sign U+2212: write a hyphen-minus instead",
            Self::CurrencySign => "has a currency sign: leave it out",
            Self::CurrencyCode => "has a currency code: leave it out",
            Self::Exponent => "has an exponent: write it out",
            Self::Groups => "has thousands that are not in groups of three digits",
            Self::OtherSign { found } => {
                let (found, read) = (found.as_str(), found.other().as_str());
                return write!(
                    f,
                    "can only be read with a decimal {found}, but that of the file is a {read} (csv.decimal)"
                );
            }
            Self::MayBeThousands(sign) => {
                let sign = sign.as_str();
                return write!(
                    f,
                    "has three digits behind the {sign}, which may be thousands or decimals: set \
                     csv.decimal to {sign} if they are decimals"
                );
            }
            Self::Undecided => {
                "can be read as thousands or as decimals, and the first 256 KiB of the file do not settle it: \
                 set csv.decimal to comma or point"
            }
        })
    }
}

/// An amount's text in its parts.
pub(super) struct Text<'a> {
    sign: Option<char>,
    /// Everything behind the sign.
    unsigned: &'a str,
    /// Digits, perhaps in groups.
    whole: &'a str,
    /// Digits.
    fraction: &'a str,
    separators: Separators,
}

/// What a text is worth: digits before the decimal sign, among them group signs, and digits after it.
pub(super) struct Number<'a> {
    pub(super) is_negative: bool,
    pub(super) whole: &'a str,
    pub(super) fraction: &'a str,
}

/// Reads `text` as an amount written in this notation.
pub(super) fn read(text: &str, notation: Notation) -> Result<Number<'_>, Unreadable> {
    let decimal = match notation {
        Notation::Plain => return plain(text).ok_or_else(|| name(text)),
        Notation::Shown(sign) | Notation::Set(sign) => Some(sign),
        Notation::Undecided => None,
    };
    let Text { sign, unsigned, mut whole, mut fraction, separators } = Text::split(text)?;
    match sign {
        Some('+') => return Err(Unreadable::Plus),
        Some(MINUS) => return Err(Unreadable::Minus),
        _ => {}
    }
    match separators {
        Separators::None => {}
        Separators::Show(found) => {
            if decimal.is_some_and(|decimal| decimal != found) {
                return Err(Unreadable::OtherSign { found });
            }
        }
        Separators::Unclear(found) => match notation {
            Notation::Set(decimal) if decimal == found => {}
            Notation::Shown(decimal) if decimal == found => {
                return Err(Unreadable::MayBeThousands(found));
            }
            Notation::Undecided => return Err(Unreadable::Undecided),
            _ => (whole, fraction) = (unsigned, ""),
        },
    }
    Ok(Number { is_negative: sign.is_some(), whole, fraction })
}

/// `[+-]digits[.digits]`
fn plain(text: &str) -> Option<Number<'_>> {
    let (sign, unsigned) = split_sign(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let is_plain = is_digits(whole) && is_digits(fraction) && sign != Some(MINUS);
    is_plain.then_some(Number { is_negative: sign == Some('-'), whole, fraction })
}

impl<'a> Text<'a> {
    /// Where each of comma and point may be by itself, whatever it means.
    fn split(text: &'a str) -> Result<Self, Unreadable> {
        let (sign, unsigned) = split_sign(text);
        let may_be_there =
            |char: char| matches!(char, '0'..='9' | ',' | '.') || GROUP_SIGNS.contains(&char);
        if !unsigned.chars().all(may_be_there) {
            return Err(name(text));
        }
        let of = |whole, fraction, separators| Self { sign, unsigned, whole, fraction, separators };

        let Some(last) = unsigned.rfind([',', '.']) else {
            let is_whole = is_digits(unsigned) || is_grouped_by_blanks(unsigned);
            return if is_whole {
                Ok(of(unsigned, "", Separators::None))
            } else {
                Err(shape(text))
            };
        };
        let found =
            if unsigned.as_bytes()[last] == b',' { DecimalSign::Comma } else { DecimalSign::Point };
        let (whole, fraction) = (&unsigned[..last], &unsigned[last + 1..]);
        if whole.contains(found.char()) {
            let is_grouped = is_grouped(unsigned, found.char());
            let separators = Separators::Show(found.other());
            return if is_grouped { Ok(of(unsigned, "", separators)) } else { Err(shape(text)) };
        }
        if !is_digits(fraction) {
            return Err(shape(text));
        }
        let separators = if whole.is_empty() || is_digits(whole) {
            let is_like_thousands =
                fraction.len() == 3 && matches!(whole.len(), 1..=3) && !whole.starts_with('0');
            if is_like_thousands { Separators::Unclear(found) } else { Separators::Show(found) }
        } else if is_grouped(whole, found.other().char()) || is_grouped_by_blanks(whole) {
            Separators::Show(found)
        } else {
            return Err(shape(text));
        };
        Ok(of(whole, fraction, separators))
    }
}

fn split_sign(text: &str) -> (Option<char>, &str) {
    let sign = text.chars().next().filter(|&char| matches!(char, '-' | '+' | MINUS));
    (sign, &text[sign.map_or(0, char::len_utf8)..])
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One to three digits, then groups of three behind one `sign` each, of which there is at least one.
fn is_grouped(text: &str, sign: char) -> bool {
    let mut groups = text.split(sign);
    let is_first = |group: &str| is_digits(group) && group.len() <= 3;
    text.contains(sign)
        && groups.next().is_some_and(is_first)
        && groups.all(|group| is_digits(group) && group.len() == 3)
}

fn is_grouped_by_blanks(text: &str) -> bool {
    GROUP_SIGNS.into_iter().any(|sign| is_grouped(text, sign))
}

/// What is wrong with a text of digits and separators.
fn shape(text: &str) -> Unreadable {
    let ends_with_digits = text.ends_with(|char: char| char.is_ascii_digit());
    let starts_with_digits = split_sign(text).1.starts_with(|char: char| char.is_ascii_digit());
    if starts_with_digits && ends_with_digits { Unreadable::Groups } else { Unreadable::NotANumber }
}

/// What a text has that no amount has.
fn name(text: &str) -> Unreadable {
    if !text.contains(|char: char| char.is_ascii_digit()) {
        Unreadable::NotANumber
    } else if text.starts_with('(') && text.ends_with(')') {
        Unreadable::Parentheses
    } else if text.contains(is_currency_sign) {
        Unreadable::CurrencySign
    } else if has_currency_code(text) {
        Unreadable::CurrencyCode
    } else if text.ends_with(['-', '+', MINUS]) {
        Unreadable::SignBehind
    } else if text.contains(MINUS) {
        Unreadable::Minus
    } else if has_exponent(text) {
        Unreadable::Exponent
    } else if text.starts_with('+') {
        Unreadable::Plus
    } else {
        Unreadable::NotANumber
    }
}

/// Unicode's category `Sc`, as far as money is counted with it.
const fn is_currency_sign(char: char) -> bool {
    matches!(
        char,
        '$' | '\u{a2}'..='\u{a5}'
            | '\u{58f}' | '\u{60b}' | '\u{7fe}' | '\u{7ff}' | '\u{9f2}' | '\u{9f3}' | '\u{9fb}'
            | '\u{af1}' | '\u{bf9}' | '\u{e3f}' | '\u{17db}'
            | '\u{20a0}'..='\u{20c1}'
            | '\u{a838}' | '\u{fdfc}' | '\u{fe69}' | '\u{ff04}' | '\u{ffe0}' | '\u{ffe1}'
            | '\u{ffe5}' | '\u{ffe6}'
    )
}

/// Three letters before or behind everything else.
fn has_currency_code(text: &str) -> bool {
    let is_letter = |char: char| char.is_ascii_alphabetic();
    let (_, unsigned) = split_sign(text);
    let rest = unsigned.trim_matches(is_letter);
    let is_outside = unsigned.starts_with(is_letter) != unsigned.ends_with(is_letter);
    is_outside && unsigned.len() - rest.len() == 3 && !rest.contains(is_letter)
}

/// `E` between digits.
fn has_exponent(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['e', 'E']) else { return false };
    let (_, exponent) = split_sign(exponent);
    number.ends_with(|char: char| char.is_ascii_digit()) && is_digits(exponent)
}
