//! How a source writes amounts, and how a file shows it.

/// How a source writes amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// As JSON and Avro do: a decimal point, and nothing between thousands.
    Plain,
    /// With this decimal sign, as the amounts of the file show; the other one stands between thousands. `12,000` is
    /// refused where the comma is the decimal sign: in a file of whole thousands a few amounts with decimals must not
    /// make it 12.
    Shown(DecimalSign),
    /// With this decimal sign, as set by hand: `12,000` is 12 where it is the comma.
    Set(DecimalSign),
    /// Neither shown nor set: only an amount that can mean one thing is read.
    Undecided,
}

/// The sign before the decimals of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalSign {
    /// `12,50`
    Comma,
    /// `12.50`
    Point,
}

impl DecimalSign {
    /// The thousands separator that goes with this decimal sign.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Comma => Self::Point,
            Self::Point => Self::Comma,
        }
    }

    /// Its name in settings and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comma => "comma",
            Self::Point => "point",
        }
    }

    pub(super) const fn char(self) -> char {
        match self {
            Self::Comma => ',',
            Self::Point => '.',
        }
    }
}

/// The amounts of a file that can mean one thing only, by the decimal sign they have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Votes {
    comma: u64,
    point: u64,
}

impl Votes {
    /// One more amount with this decimal sign.
    pub const fn add(&mut self, sign: DecimalSign) {
        match sign {
            DecimalSign::Comma => self.comma += 1,
            DecimalSign::Point => self.point += 1,
        }
    }

    /// The decimal sign of nine votes in ten.
    pub fn notation(self) -> Notation {
        let all = self.comma + self.point;
        let decides = |votes: u64| votes > 0 && votes * 10 >= all * 9;
        match (decides(self.comma), decides(self.point)) {
            (true, _) => Notation::Shown(DecimalSign::Comma),
            (_, true) => Notation::Shown(DecimalSign::Point),
            _ => Notation::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(comma: u64, point: u64, expected: Notation) {
        assert_eq!(Votes { comma, point }.notation(), expected, "{comma} to {point}");
    }

    #[test]
    fn nine_votes_in_ten_decide() {
        check(0, 0, Notation::Undecided);
        check(1, 0, Notation::Shown(DecimalSign::Comma));
        check(0, 1, Notation::Shown(DecimalSign::Point));
        check(9, 1, Notation::Shown(DecimalSign::Comma));
        check(1, 9, Notation::Shown(DecimalSign::Point));
        check(8, 1, Notation::Undecided);
        check(1, 8, Notation::Undecided);
        check(899, 100, Notation::Undecided);
        check(900, 100, Notation::Shown(DecimalSign::Comma));
        check(1, 1, Notation::Undecided);
    }
}
