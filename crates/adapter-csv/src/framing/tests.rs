use super::*;

/// Frames lines one after the other; every prefix must be framed in the same way or wait for more.
fn frame_all(input: &[u8], fields: usize) -> String {
    let framing = Framing { delimiter: b';', width: Some(Width::of_header(fields, false)) };
    let mut rest = input;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let frame = framing.frame(rest, true);
        for end in 0..rest.len() {
            let partial = framing.frame(&rest[..end], false);
            let agrees = partial == frame || partial == Frame::More;
            // A bad line may be known to be bad before the rest of it is there.
            assert!(
                agrees,
                "{:?}: {partial:?} of the first {end} bytes",
                rest.escape_ascii().to_string()
            );
        }
        let text = |len| rest[..len].escape_ascii().to_string().replace("\\\"", "\"");
        let next = match frame {
            Frame::Blank { next } => {
                found.push("blank".to_owned());
                next
            }
            Frame::Record { len, next, lines, fields: counted } => {
                assert_eq!(counted, fields);
                found.push(if lines == 1 {
                    text(len)
                } else {
                    format!("{} in {lines} lines", text(len))
                });
                next
            }
            Frame::Bad { flaw, line: Some((len, next)) } => {
                found.push(format!("{flaw:?} {}", text(len)));
                next
            }
            Frame::Bad { line: None, .. } | Frame::More => panic!("{frame:?}"),
        };
        rest = &rest[next..];
    }
    found.join(" / ")
}

#[track_caller]
fn check(input: &str, expected: &str) {
    assert_eq!(frame_all(input.as_bytes(), 2), expected, "{input:?}");
}

#[test]
fn records_end_at_line_ends() {
    check("a;b\nc;d\n", "a;b / c;d");
    check("a;b\r\nc;d\r\n", "a;b / c;d");
    check("a;b\nc;d", "a;b / c;d");
    check("a;b\nc;d\r", "a;b / c;d");
    check("a;\n;b\n", "a; / ;b");
    check("\"a\";\"b\"\r\n\"c\";\"\"", "\"a\";\"b\" / \"c\";\"\"");
    check("\"a\";\"b\"\r", "\"a\";\"b\"");
}

#[test]
fn blank_lines_are_no_records() {
    check("\n\r\na;b\n\n\nc;d\n\r", "blank / blank / a;b / blank / blank / c;d / blank");
}

#[test]
fn rows_without_anything_in_them_are_no_records() {
    check(";\na;b\n;\r\n;", "blank / a;b / blank / blank");
    check("\"\";\"\"\n\"\";\n \t; \n\" \";\"\t\"\n", "blank / blank / blank / blank");
    // However many fields: a row of another table is as blank.
    check("  \n\"\"\n;;;;;\na;b", "blank / blank / blank / a;b");
    // A quote, a delimiter, a line end and any other blank are something.
    check("\"\"\"\";\n", "\"\"\"\";");
    check("\";\";\n\" ; \";\"\"\n", "\";\"; / \" ; \";\"\"");
    check("\"\n\";\n", "\"\\n\"; in 2 lines");
    check("\u{a0};\n\r;\n", "\\xc2\\xa0; / \\r;");
    check(";a\n\"\";\"a\"\n", ";a / \"\";\"a\"");
}

#[test]
fn an_empty_field_behind_the_columns_does_not_count() {
    let framed = |header, record: &str| {
        let (fields, is_last_empty) = header;
        let width = Width::of_header(fields, is_last_empty);
        let framing = Framing { delimiter: b';', width: Some(width) };
        match framing.frame(record.as_bytes(), true) {
            Frame::Record { fields, .. } => Ok(fields),
            Frame::Bad { flaw, .. } => Err(flaw),
            other => panic!("{other:?}"),
        }
    };
    let (without, with) = ((2, false), (3, true));
    for (record, expected) in [
        ("a;b", Ok(2)),
        ("a;b;", Ok(3)),
        ("a;b;\"\"", Ok(3)),
        ("a;", Ok(2)),
        ("\"a\nb\";c;", Ok(3)),
        ("\"a\nb\";c;\"\"", Ok(3)),
        ("a", Err(Flaw::Fields(1))),
        ("a;b;;", Err(Flaw::Fields(4))),
    ] {
        assert_eq!(framed(without, record), expected, "{record}");
        assert_eq!(framed(with, record), expected, "{record}");
    }
    for (record, expected) in [
        ("a;b;c", Flaw::Fields(3)),
        ("a;b; ", Flaw::Fields(3)),
        ("\"a\nb\";c;\"d\"", Flaw::TooManyFields),
    ] {
        assert_eq!(framed(without, record), Err(expected), "{record}");
        assert_eq!(framed(with, record), Ok(3), "{record}");
    }
}

#[test]
fn a_lone_carriage_return_is_data() {
    check("a\rb;\r\r\n", "a\\rb;\\r");
    check("\r;\r", "\\r;");
    check("\"a\"\r;b\n", "AfterQuote \"a\"\\r;b");
}

#[test]
fn quotes_hide_delimiters_and_line_ends() {
    check("\"a;b\";c\n", "\"a;b\";c");
    check("\"a\nb\r\n\";c\nd;e", "\"a\\nb\\r\\n\";c in 3 lines / d;e");
    check("\"a\"\"b\";\"\"\"\"\n", "\"a\"\"b\";\"\"\"\"");
    check("\"\"\"\n\"\"\";b\n", "\"\"\"\\n\"\"\";b in 2 lines");
}

#[test]
fn a_quote_within_a_field_is_data() {
    check("a\"b;c\"\"\nd; \"e\"\n", "a\"b;c\"\" / d; \"e\"");
}

#[test]
fn a_wrong_number_of_fields_costs_one_line() {
    check("a\nb;c;d;e\nf;g", "Fields(1) a / Fields(4) b;c;d;e / f;g");
    check("\"a\nb\"\nc;d", "Fields(1) \"a / Fields(1) b\" / c;d");
    check("a;b;\"c\nd;e\n\"\nf;g", "TooManyFields a;b;\"c / d;e / OpenQuote \" / f;g");
    check("a;b;\"c\";d\ne;f", "Fields(4) a;b;\"c\";d / e;f");
}

#[test]
fn an_unclosed_quote_costs_one_line() {
    check("a;\"b\nc;d\ne;f\n", "OpenQuote a;\"b / c;d / e;f");
    check("a;\"b\nc;\"d\"\ne;f\n", "AfterQuote a;\"b / c;\"d\" / e;f");
    check("a;b\nc;\"d", "a;b / OpenQuote c;\"d");
    check("a;b\nc;\"", "a;b / OpenQuote c;\"");
    check("a;b\nc;\"\"\"\r\n", "a;b / OpenQuote c;\"\"\"");
}

#[test]
fn nothing_but_a_delimiter_or_a_line_end_follows_a_closing_quote() {
    check("\"a\"b;c\nd;e", "AfterQuote \"a\"b;c / d;e");
    check("a;\"b\" \nd;e", "AfterQuote a;\"b\"  / d;e");
    check("\"a\n\"b;c\nd;e", "AfterQuote \"a / OpenQuote \"b;c / d;e");
}

#[test]
fn a_record_has_at_most_1_mib() {
    let framing = Framing { delimiter: b';', width: Some(Width::of_header(2, false)) };
    let check = |content: String, expected: Frame| {
        assert_eq!(framing.frame(content.as_bytes(), true), expected);
        let followed = content + "x;y\n";
        assert_eq!(framing.frame(followed.as_bytes(), false), expected);
    };
    let bad = |line| Frame::Bad { flaw: Flaw::TooLong, line };
    let good = |next, lines| Frame::Record { len: PAYLOAD_LIMIT, next, fields: 2, lines };
    let filled = |start: &str, len: usize, end: &str| {
        format!("{start}{}{end}", "x".repeat(len - start.len() - end.trim_end().len()))
    };
    check(filled("a;", PAYLOAD_LIMIT, "\n"), good(PAYLOAD_LIMIT + 1, 1));
    check(filled("a;", PAYLOAD_LIMIT, "\r\n"), good(PAYLOAD_LIMIT + 2, 1));
    check(filled("a;\"\n", PAYLOAD_LIMIT, "\"\r\n"), good(PAYLOAD_LIMIT + 2, 2));
    check(filled("a;", PAYLOAD_LIMIT + 1, "\n"), bad(None));
    check(filled("a;", PAYLOAD_LIMIT + 1, "\r\n"), bad(None));
    check(filled("a;\"\n", PAYLOAD_LIMIT + 1, "\"\n"), bad(Some((3, 4))));
    check(filled("a;\"", PAYLOAD_LIMIT + 9, "\"\n"), bad(None));
    check(filled("a;\"b\r\n", 3 * PAYLOAD_LIMIT, "\n"), bad(Some((4, 6))));
    let half = filled("a;", PAYLOAD_LIMIT, "");
    assert_eq!(framing.frame(half.as_bytes(), false), Frame::More);
    assert_eq!(framing.frame((half + "\r").as_bytes(), false), Frame::More);
}

#[test]
fn a_bad_line_over_1_mib_has_no_end() {
    let framing = Framing { delimiter: b';', width: Some(Width::of_header(2, false)) };
    let line = format!("\"a\"b;{}", "x".repeat(2 * PAYLOAD_LIMIT));
    let expected = Frame::Bad { flaw: Flaw::AfterQuote, line: None };
    assert_eq!(framing.frame(line.as_bytes(), true), expected);
    assert_eq!(framing.frame(&line.as_bytes()[..100], false), Frame::More);
}
