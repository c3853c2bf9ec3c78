//! Ids of records.

use uuid::Uuid;

/// A hyphenated UUID in either case, or an integer n from 0 to 2^128 - 1, which means the UUID with that integer
/// value (Python's `UUID(int=n)`). `None` for anything else.
///
/// A UUID without hyphens is refused: 32 decimal digits would be both.
pub fn parse(text: &str) -> Option<Uuid> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Uuid::from_u128);
    }
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(|id| id.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn integers_and_uuids() {
        check("0", Some("00000000-0000-0000-0000-000000000000"));
        check("255", Some("00000000-0000-0000-0000-0000000000ff"));
        check(
            "340282366920938463463374607431768211455",
            Some("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        );
        check("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    }

    #[test]
    fn anything_else_is_no_id() {
        check("", None);
        check("-1", None);
        check("+1", None);
        check("1.0", None);
        check("340282366920938463463374607431768211456", None);
        check("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", None);
        check("a0eebc999c0b4ef8bb6d6bb9bd380a11", None);
        check("g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None);
        check("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a}", None);
    }
}
