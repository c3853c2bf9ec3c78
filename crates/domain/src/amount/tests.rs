use super::*;

const COMMA: Notation = Notation::Shown(DecimalSign::Comma);
const POINT: Notation = Notation::Shown(DecimalSign::Point);
const SET_COMMA: Notation = Notation::Set(DecimalSign::Comma);
const SET_POINT: Notation = Notation::Set(DecimalSign::Point);
const UNDECIDED: Notation = Notation::Undecided;
const OF_FILES: [Notation; 5] = [COMMA, POINT, SET_COMMA, SET_POINT, UNDECIDED];

fn shown(text: &str, notation: Notation) -> Result<String, Unreadable> {
    Amount::parse(text, notation)
        .map(|parsed| parsed.amount.map_or_else(|| "range".to_owned(), |amount| amount.to_string()))
}

#[track_caller]
fn check(notation: Notation, text: &str, expected: &str) {
    assert_eq!(shown(text, notation).as_deref(), Ok(expected), "{text} {notation:?}");
}

#[track_caller]
fn refused(notation: Notation, text: &str, expected: Unreadable) {
    assert_eq!(shown(text, notation), Err(expected), "{text} {notation:?}");
}

/// In every file, whatever its decimal sign.
#[track_caller]
fn check_all(text: &str, expected: &str) {
    for notation in OF_FILES {
        check(notation, text, expected);
    }
}

#[track_caller]
fn refused_by_all(text: &str, expected: Unreadable) {
    for notation in OF_FILES {
        refused(notation, text, expected);
    }
}

/// An amount that can mean one thing only: a vote for its sign, read by it where nothing is decided, and where the
/// other sign is, not at all.
#[track_caller]
fn check_vote(text: &str, sign: DecimalSign, expected: &str) {
    assert_eq!(separators(text), Some(Separators::Show(sign)), "{text}");
    for notation in [Notation::Shown(sign), Notation::Set(sign), UNDECIDED] {
        check(notation, text, expected);
    }
    for notation in [Notation::Shown(sign.other()), Notation::Set(sign.other())] {
        refused(notation, text, Unreadable::OtherSign { found: sign });
    }
}

/// The same text with comma and point exchanged.
fn exchanged(text: &str) -> String {
    let exchange = |char| match char {
        ',' => '.',
        '.' => ',',
        other => other,
    };
    text.chars().map(exchange).collect()
}

#[test]
fn plain_numbers_are_read_exactly() {
    for (text, expected) in [
        ("12.34", "12.34"),
        ("-12.3", "-12.30"),
        ("+7", "7.00"),
        ("007.50", "7.50"),
        ("0.10", "0.10"),
        ("-0.01", "-0.01"),
        ("9999999999.99", "9999999999.99"),
        ("-9999999999.99", "-9999999999.99"),
        ("0000000000000000000000000000000001", "1.00"),
        ("1.234", "range"),
    ] {
        check(Notation::Plain, text, expected);
    }
}

#[test]
fn trailing_zeros_are_no_decimals() {
    check(Notation::Plain, "12.3400000000000000000000000", "12.34");
    check(Notation::Plain, "1.000", "1.00");
    check(COMMA, "12,3400000000000000000000000", "12.34");
}

#[test]
fn what_does_not_fit_is_out_of_range() {
    for text in
        ["10000000000", "99999999999.99", "12.3456", "0.001", "99999999999999999999999999999999999"]
    {
        check(Notation::Plain, text, "range");
        check(POINT, text, "range");
    }
    check(SET_COMMA, "12,345", "range");
    check(COMMA, "10.000.000.000", "range");
    check(COMMA, "9.999.999.999,99", "9999999999.99");
}

#[test]
fn anything_else_is_no_plain_number() {
    for text in [
        "", "-", ".", "1.", ".5", "NaN", "inf", "12,34", "1,234", "1 000", "1'000", "1_0", "--1",
        "0x10", "1.2.3", "1,234.56", "١",
    ] {
        refused(Notation::Plain, text, Unreadable::NotANumber);
    }
    refused(Notation::Plain, "1e5", Unreadable::Exponent);
    refused(Notation::Plain, "\u{2212}1", Unreadable::Minus);
}

#[test]
fn the_sign_is_known_even_out_of_range() {
    let sign = |text| Amount::parse(text, POINT).map(|parsed| parsed.sign);
    assert_eq!(sign("-0.00"), Ok(Ordering::Equal));
    assert_eq!(sign("-99999999999.99"), Ok(Ordering::Less));
    assert_eq!(sign("0.001"), Ok(Ordering::Greater));
    assert_eq!(sign("-1,000"), Ok(Ordering::Less));
}

#[test]
fn without_separators_nothing_has_to_be_decided() {
    for (text, expected) in [
        ("12", "12.00"),
        ("-3000", "-3000.00"),
        ("0", "0.00"),
        ("007", "7.00"),
        ("-9999999999", "-9999999999.00"),
    ] {
        assert_eq!(separators(text), Some(Separators::None), "{text}");
        check_all(text, expected);
    }
}

#[test]
fn an_amount_that_can_mean_one_thing_votes_for_it() {
    for (text, expected) in [
        // Both separators: the last one is the decimal sign.
        ("1.234,56", "1234.56"),
        ("-1.234,5", "-1234.50"),
        ("12.345.678,90", "12345678.90"),
        ("123.456,789", "range"),
        // Once, with one, two, or four and more digits after it.
        ("12,5", "12.50"),
        ("-12,50", "-12.50"),
        ("12,3456", "range"),
        ("12,5000", "12.50"),
        ("1234567,5", "1234567.50"),
        // Once, with three digits after it, where nothing but a decimal sign may be.
        (",500", "0.50"),
        ("-,500", "-0.50"),
        ("0,500", "0.50"),
        ("0,125", "range"),
        ("012,000", "12.00"),
        ("1234,500", "1234.50"),
        ("1234,567", "range"),
        // And without a digit before it.
        (",50", "0.50"),
        ("-,5", "-0.50"),
        // One of them repeated is the thousands sign.
        ("1.234.567", "1234567.00"),
        ("-12.345.678", "-12345678.00"),
        ("123.456.789", "123456789.00"),
    ] {
        check_vote(text, DecimalSign::Comma, expected);
        check_vote(&exchanged(text), DecimalSign::Point, expected);
    }
}

#[test]
fn three_digits_behind_the_only_separator_do_not_vote() {
    for text in ["1.234", "-3.000", "12.000", "123.456", "999.999"] {
        let of_comma = exchanged(text);
        assert_eq!(separators(text), Some(Separators::Unclear(DecimalSign::Point)), "{text}");
        assert_eq!(separators(&of_comma), Some(Separators::Unclear(DecimalSign::Comma)));

        let whole = text.replace('.', "") + ".00";
        check(COMMA, text, &whole);
        check(SET_COMMA, text, &whole);
        check(POINT, &of_comma, &whole);
        check(SET_POINT, &of_comma, &whole);

        refused(POINT, text, Unreadable::MayBeThousands(DecimalSign::Point));
        refused(COMMA, &of_comma, Unreadable::MayBeThousands(DecimalSign::Comma));
        refused(UNDECIDED, text, Unreadable::Undecided);
        refused(UNDECIDED, &of_comma, Unreadable::Undecided);
    }
}

#[test]
fn a_sign_that_was_set_reads_three_digits_as_decimals() {
    check(SET_COMMA, "1,500", "1.50");
    check(SET_COMMA, "-3,000", "-3.00");
    check(SET_POINT, "12.000", "12.00");
    check(SET_POINT, "1.234", "range");
}

#[test]
fn blanks_and_apostrophes_group_thousands_whatever_is_decided() {
    for sign in [" ", "\u{a0}", "\u{202f}", "'", "\u{2019}"] {
        for (text, expected) in
            [("1_234", "1234.00"), ("-12_345_678", "-12345678.00"), ("123_456", "123456.00")]
        {
            check_all(&text.replace('_', sign), expected);
        }
        for (text, expected) in
            [("1_234,50", "1234.50"), ("-1_234_567,5", "-1234567.50"), ("1_234,500", "1234.50")]
        {
            let text = text.replace('_', sign);
            check_vote(&text, DecimalSign::Comma, expected);
            check_vote(&exchanged(&text), DecimalSign::Point, expected);
        }
        for text in ["1_23", "12_34_567", "1234_567", "1_2345", "1__234", "12_3,5", "1,500_000"] {
            refused_by_all(&text.replace('_', sign), Unreadable::Groups);
        }
        for text in ["_123", "1_", "-_5"] {
            refused_by_all(&text.replace('_', sign), Unreadable::NotANumber);
        }
    }
    for text in ["1 234'567", "1 234\u{a0}567", "1 234.567,89", "1'234,567.89"] {
        refused_by_all(text, Unreadable::Groups);
    }
}

#[test]
fn wrong_groups_are_refused_and_do_not_vote() {
    for text in [
        "1,23,456.00",
        "1.2.3",
        "1,2,3",
        "1234,567,890",
        "1,2345,678",
        "12,34.56",
        "1234,567.89",
        "1,234.567.890",
        "1.234,567,890.1",
        "1,234,56",
        "1,,234",
        "1.,5",
    ] {
        assert_eq!(separators(text), None, "{text}");
        refused_by_all(text, Unreadable::Groups);
        refused_by_all(&exchanged(text), Unreadable::Groups);
    }
    for text in ["", "-", ",", ".", "-,", "12,", "12.", "1.234,", ",1,234", ".234,5", " ", "' '"] {
        assert_eq!(separators(text), None, "{text}");
        refused_by_all(text, Unreadable::NotANumber);
    }
}

#[test]
fn what_is_refused_is_named() {
    for (text, expected) in [
        ("(12,50)", Unreadable::Parentheses),
        ("(1.234)", Unreadable::Parentheses),
        ("12,50-", Unreadable::SignBehind),
        ("12,50 -", Unreadable::SignBehind),
        ("12,50+", Unreadable::SignBehind),
        ("12,50\u{2212}", Unreadable::SignBehind),
        ("+12,50", Unreadable::Plus),
        ("+7", Unreadable::Plus),
        ("\u{2212}12,50", Unreadable::Minus),
        ("\u{2212}7", Unreadable::Minus),
        ("€12,50", Unreadable::CurrencySign),
        ("12,50 €", Unreadable::CurrencySign),
        ("-$12.50", Unreadable::CurrencySign),
        ("£7", Unreadable::CurrencySign),
        ("¥700", Unreadable::CurrencySign),
        ("₹ 1,500", Unreadable::CurrencySign),
        ("₿1", Unreadable::CurrencySign),
        ("12 EUR", Unreadable::CurrencyCode),
        ("12,50EUR", Unreadable::CurrencyCode),
        ("EUR 12,50", Unreadable::CurrencyCode),
        ("-CHF 1'234.50", Unreadable::CurrencyCode),
        ("usd -5", Unreadable::CurrencyCode),
        ("1e5", Unreadable::Exponent),
        ("1,5E-3", Unreadable::Exponent),
        ("1.5e+3", Unreadable::Exponent),
    ] {
        refused_by_all(text, expected);
    }
    for text in [
        "x", "NaN", "inf", "EUR", "€", "()", "12 kr", "12 EURO", "1_0", "--1", "0x10", "١", "5%",
        "1e",
    ] {
        assert_eq!(separators(text), None, "{text}");
        refused_by_all(text, Unreadable::NotANumber);
    }
}

/// A sign before them does not change what separators say, whether it is read or not.
#[test]
fn only_signs_digits_and_separators_vote() {
    for text in ["-12,50", "+12,50", "\u{2212}12,50"] {
        assert_eq!(separators(text), Some(Separators::Show(DecimalSign::Comma)), "{text}");
    }
    for text in ["(12,50)", "12,50-", "12,50 €", "EUR 12,50", "1,5e3", "1,5x", "x"] {
        assert_eq!(separators(text), None, "{text}");
    }
}

#[test]
fn messages_name_what_was_found_and_what_to_set() {
    for (unreadable, parts) in [
        (Unreadable::Undecided, &["thousands", "csv.decimal"][..]),
        (Unreadable::MayBeThousands(DecimalSign::Comma), &["thousands", "csv.decimal to comma"]),
        (Unreadable::OtherSign { found: DecimalSign::Point }, &["decimal point", "csv.decimal"]),
        (Unreadable::Parentheses, &["parentheses"]),
        (Unreadable::SignBehind, &["sign after"]),
        (Unreadable::Plus, &["plus sign"]),
        (Unreadable::Minus, &["U+2212"]),
        (Unreadable::CurrencySign, &["currency sign"]),
        (Unreadable::CurrencyCode, &["currency code"]),
        (Unreadable::Exponent, &["exponent"]),
        (Unreadable::Groups, &["groups of three"]),
    ] {
        let message = unreadable.to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        // It divides the faults of a record.
        assert!(!message.contains(';'), "{message}");
    }
}
