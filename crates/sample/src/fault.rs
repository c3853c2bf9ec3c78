/// What can be wrong with a row. A spoiled row has exactly one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No id.
    IdMissing,
    /// An id that is neither an integer nor a UUID.
    IdInvalid,
    /// No amount.
    AmountMissing,
    /// An amount that is no number.
    AmountInvalid,
    /// An amount beyond numeric(12,2).
    AmountRange,
    /// An amount with four decimals: three might be thousands.
    AmountDecimals,
    /// No side.
    SideMissing,
    /// A side that is neither debit nor credit.
    SideUnknown,
    /// A debit above 0.
    DebitSign,
    /// A credit below 0.
    CreditSign,
    /// No timestamp.
    TimestampMissing,
    /// A day that no calendar has.
    TimestampInvalid,
    /// U+0000 in the description.
    Nul,
    /// A description of 1,025 characters.
    TextTooLong,
    /// A row without its last field.
    FieldsTooFew,
    /// A row with a field more than the header.
    FieldsTooMany,
    /// A byte in the description that is not UTF-8.
    Encoding,
}

/// Every fault, in the order in which spoiled rows take them.
pub const FAULTS: [Fault; 17] = [
    Fault::IdMissing,
    Fault::IdInvalid,
    Fault::AmountMissing,
    Fault::AmountInvalid,
    Fault::AmountRange,
    Fault::AmountDecimals,
    Fault::SideMissing,
    Fault::SideUnknown,
    Fault::DebitSign,
    Fault::CreditSign,
    Fault::TimestampMissing,
    Fault::TimestampInvalid,
    Fault::Nul,
    Fault::TextTooLong,
    Fault::FieldsTooFew,
    Fault::FieldsTooMany,
    Fault::Encoding,
];

impl Fault {
    /// The code of the dead letter that such a row becomes.
    pub fn code(self) -> &'static str {
        match self {
            Self::IdMissing => "id_missing",
            Self::IdInvalid => "id_invalid",
            Self::AmountMissing => "amount_missing",
            Self::AmountInvalid => "amount_invalid",
            Self::AmountRange | Self::AmountDecimals => "amount_range",
            Self::SideMissing => "side_missing",
            Self::SideUnknown => "side_unknown",
            Self::DebitSign => "debit_sign",
            Self::CreditSign => "credit_sign",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::Nul => "nul",
            Self::TextTooLong => "text_too_long",
            Self::FieldsTooFew | Self::FieldsTooMany => "fields",
            Self::Encoding => "encoding",
        }
    }
}
