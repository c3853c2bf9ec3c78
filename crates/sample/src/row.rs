use crate::operations::{self, CITIES, Ending, MONTHS};
use crate::random::Random;
use crate::{Delimiter, Fault};

const COLUMNS: [&str; 7] =
    ["id", "description", "amount", "timestamp", "merchant", "operation_type", "side"];

/// 29 February is left out.
const DAYS_OF_MONTH: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The limit of a description is 1,024 characters.
const TOO_LONG: usize = 1025;

/// The fields of one row as they are written; filled again for each row, so that its buffers stay.
#[derive(Default)]
pub(crate) struct Row {
    id: Vec<u8>,
    description: Vec<u8>,
    amount_sign: &'static str,
    amount: Vec<u8>,
    timestamp: Vec<u8>,
    merchant: &'static str,
    operation_type: &'static str,
    side: &'static str,
    /// How many fields are written: the columns, or one less or more.
    width: usize,
}

pub(crate) fn write_header(delimiter: Delimiter, line: &mut Vec<u8>) {
    for (place, column) in COLUMNS.into_iter().enumerate() {
        if place > 0 {
            line.push(delimiter.byte());
        }
        line.extend_from_slice(column.as_bytes());
    }
    line.push(b'\n');
}

impl Row {
    /// Makes this the valid row `number`.
    pub(crate) fn fill(&mut self, number: u64, mut random: Random, delimiter: Delimiter) {
        let operation = operations::any(&mut random);
        let (party, merchant) = *random.any(operation.parties);
        let date = Date::any(&mut random);

        self.id.clear();
        push_number(&mut self.id, number, 1);

        self.description.clear();
        self.description.extend_from_slice(operation.wording.as_bytes());
        self.description.extend_from_slice(party.as_bytes());
        self.description.push(b' ');
        self.describe(&operation.ending, &date, &mut random);

        // Below a random limit, not below the greatest amount: small amounts are more frequent.
        let (least, greatest) = operation.cents;
        let limit = 1 + random.below(greatest - least + 1);
        let cents = (least + random.below(limit)) as u64;
        self.amount_sign = if operation.side == "debit" { "-" } else { "" };
        self.amount.clear();
        push_number(&mut self.amount, cents / 100, 1);
        self.amount.push(delimiter.decimal());
        push_number(&mut self.amount, cents % 100, 2);

        self.timestamp.clear();
        date.push_to(&mut self.timestamp, &mut random);

        self.merchant = merchant;
        self.operation_type = operation.kind;
        self.side = operation.side;
        self.width = COLUMNS.len();
    }

    fn describe(&mut self, ending: &Ending, date: &Date, random: &mut Random) {
        let description = &mut self.description;
        match ending {
            Ending::City => {
                description.extend_from_slice(random.any(&CITIES).as_bytes());
                description.push(b' ');
                push_number(description, date.day as u64, 2);
                description.push(b'/');
                push_number(description, date.month as u64, 2);
            }
            Ending::Reference => {
                description.extend_from_slice(b"REF ");
                push_number(description, random.below(100_000_000) as u64, 8);
            }
            Ending::Month => {
                description.extend_from_slice(MONTHS[date.month - 1].as_bytes());
                description.push(b' ');
                push_number(description, date.year as u64, 4);
            }
        }
    }

    /// Makes this row wrong in one way.
    pub(crate) fn spoil(&mut self, fault: Fault) {
        match fault {
            Fault::IdMissing => self.id.clear(),
            Fault::IdInvalid => self.id.insert(0, b'T'),
            Fault::AmountMissing => {
                self.amount_sign = "";
                self.amount.clear();
            }
            Fault::AmountInvalid => self.amount.insert(0, b'x'),
            Fault::AmountRange => self.amount.splice(..0, *b"99999999999").for_each(drop),
            Fault::AmountDecimals => self.amount.extend_from_slice(b"05"),
            Fault::SideMissing => self.side = "",
            Fault::SideUnknown => self.side = "both",
            Fault::DebitSign => (self.side, self.amount_sign) = ("debit", ""),
            Fault::CreditSign => (self.side, self.amount_sign) = ("credit", "-"),
            Fault::TimestampMissing => self.timestamp.clear(),
            Fault::TimestampInvalid => self.timestamp[5..10].copy_from_slice(b"02-30"),
            Fault::Nul => self.description.push(0),
            Fault::TextTooLong => {
                self.description.clear();
                self.description.resize(TOO_LONG, b'X');
            }
            Fault::FieldsTooFew => self.width -= 1,
            Fault::FieldsTooMany => self.width += 1,
            // The é of Latin-1.
            Fault::Encoding => self.description.push(0xe9),
        }
    }

    /// Appends the row and a line end to `line`.
    pub(crate) fn write(&self, delimiter: Delimiter, line: &mut Vec<u8>) {
        let one_too_many = self.side;
        let fields: [&[&[u8]]; 8] = [
            &[&self.id],
            &[b"\"", &self.description, b"\""],
            &[self.amount_sign.as_bytes(), &self.amount],
            &[&self.timestamp],
            &[b"\"", self.merchant.as_bytes(), b"\""],
            &[b"\"", self.operation_type.as_bytes(), b"\""],
            &[b"\"", self.side.as_bytes(), b"\""],
            &[b"\"", one_too_many.as_bytes(), b"\""],
        ];
        for (place, parts) in fields[..self.width].iter().enumerate() {
            if place > 0 {
                line.push(delimiter.byte());
            }
            for part in *parts {
                line.extend_from_slice(part);
            }
        }
        line.push(b'\n');
    }
}

impl Delimiter {
    fn byte(self) -> u8 {
        match self {
            Self::Semicolon => b';',
            Self::Comma => b',',
            Self::Tab => b'\t',
        }
    }

    fn decimal(self) -> u8 {
        if self == Self::Comma { b'.' } else { b',' }
    }
}

struct Date {
    year: usize,
    /// From 1.
    month: usize,
    /// From 1.
    day: usize,
}

impl Date {
    /// Any day from 2023 to 2025.
    fn any(random: &mut Random) -> Self {
        let year = 2023 + random.below(3);
        let month = 1 + random.below(12);
        let day = 1 + random.below(DAYS_OF_MONTH[month - 1]);
        Self { year, month, day }
    }

    /// Appends this day and any second of it as `YYYY-MM-DD HH:MM:SS`.
    fn push_to(&self, text: &mut Vec<u8>, random: &mut Random) {
        let second = random.below(24 * 60 * 60);
        let parts = [
            (self.year, 4, "-"),
            (self.month, 2, "-"),
            (self.day, 2, " "),
            (second / 3600, 2, ":"),
            (second / 60 % 60, 2, ":"),
            (second % 60, 2, ""),
        ];
        for (number, digits, then) in parts {
            push_number(text, number as u64, digits);
            text.extend_from_slice(then.as_bytes());
        }
    }
}

/// Appends `number` with at least `digits` digits; several times as fast as `write!`.
fn push_number(text: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut reversed = [b'0'; 20];
    let mut length = 0;
    while number > 0 {
        reversed[length] = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
    }
    text.extend(reversed[..length.max(digits)].iter().rev());
}
