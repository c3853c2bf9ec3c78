//! What does not hold.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_ports::audit::PassName;

/// So many of each kind are listed; all are counted.
const LISTED: usize = 100;

/// What kind of thing does not hold. Scripts match on the names: they are never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Records that were read and are not accounted for, or accounted for and not read.
    Unbalanced,
    /// A count below 0.
    NegativeCount,
    /// A range that ends before it begins.
    BackwardRange,
    /// A range with another number of records than it can have.
    WrongWidth,
    /// A range that says why it has no records, and has some.
    RecordsInGap,
    /// Positions of a pass in no range.
    Gap,
    /// Positions of a pass in two ranges.
    Overlap,
    /// A pass that begins elsewhere than its kind of stream does.
    WrongBegin,
    /// A position that is not where the last range ends.
    WrongPosition,
    /// Entries of a pass that no position is kept of.
    NoPosition,
    /// Passes that are not numbered 1, 2, 3.
    MissingPass,
    /// A topic marked as finished.
    EndedTopic,
    /// A finished file with another number of records than it has rows.
    WrongSum,
    /// A batch with another number of dead letters than it says.
    DeadLetterCount,
    /// A dead letter of a batch that the ledger does not have.
    DeadLetterBatch,
    /// A dead letter that its batch cannot have.
    DeadLetterPlace,
    /// Attempts that are not numbered 1, 2, 3.
    DeadLetterAttempts,
    /// A dead letter in a state that it cannot be in.
    DeadLetterState,
    /// A dead letter with another id than follows from what it is.
    DeadLetterId,
    /// Rows of an origin that no position is kept of.
    UnknownOrigin,
    /// Rows from positions that were never passed.
    RowsBeyondPosition,
    /// Rows from positions where no record was read.
    RowsFromNothing,
    /// More rows than were written.
    TooManyRows,
    /// A source that was never read.
    SourceUnknown,
    /// A file that was never read to its end.
    SourceUnfinished,
    /// A source with another number of records than were read.
    SourceCount,
    /// A record that was read and left neither a row nor a dead letter.
    RecordMissing,
    /// Other appended rows than those of the records that were written.
    AppendedRows,
    /// A row without the mark of the delete that was the last to write it, or with a mark that no delete left.
    DeleteMark,
    /// A row that is not the newest version of its history.
    HistoryDiffers,
    /// A counter that is not the sum over the records that were counted.
    CounterSum,
    /// A record that should be in an output topic and is not.
    PublicationMissing,
    /// A record that is in its output topic more than once, where each should be there once.
    PublicationRepeated,
    /// A record in an output topic whose id names a position that was not read.
    PublicationFromNothing,
    /// A record in an output topic that comes from a dead letter.
    PublicationOfDeadLetter,
    /// A record in an output topic that the one it comes from does not publish.
    PublicationUnexpected,
    /// A record in another topic than its output's.
    PublicationTopic,
    /// A record in an output topic with another key or value than the flow gives it.
    PublicationContent,
    /// A log that ends before the position.
    SourceEnd,
    /// A log that is no longer the one that was read.
    SourceReplaced,
    /// Records that a log no longer has and that were never read.
    SourceLost,
}

impl Kind {
    /// Its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unbalanced => "unbalanced",
            Self::NegativeCount => "negative_count",
            Self::BackwardRange => "backward_range",
            Self::WrongWidth => "wrong_width",
            Self::RecordsInGap => "records_in_gap",
            Self::Gap => "gap",
            Self::Overlap => "overlap",
            Self::WrongBegin => "wrong_begin",
            Self::WrongPosition => "wrong_position",
            Self::NoPosition => "no_position",
            Self::MissingPass => "missing_pass",
            Self::EndedTopic => "ended_topic",
            Self::WrongSum => "wrong_sum",
            Self::DeadLetterCount => "dead_letter_count",
            Self::DeadLetterBatch => "dead_letter_batch",
            Self::DeadLetterPlace => "dead_letter_place",
            Self::DeadLetterAttempts => "dead_letter_attempts",
            Self::DeadLetterState => "dead_letter_state",
            Self::DeadLetterId => "dead_letter_id",
            Self::UnknownOrigin => "unknown_origin",
            Self::RowsBeyondPosition => "rows_beyond_position",
            Self::RowsFromNothing => "rows_from_nothing",
            Self::TooManyRows => "too_many_rows",
            Self::SourceUnknown => "source_unknown",
            Self::SourceUnfinished => "source_unfinished",
            Self::SourceCount => "source_count",
            Self::RecordMissing => "record_missing",
            Self::AppendedRows => "appended_rows",
            Self::DeleteMark => "delete_mark",
            Self::HistoryDiffers => "history_differs",
            Self::CounterSum => "counter_sum",
            Self::PublicationMissing => "publication_missing",
            Self::PublicationRepeated => "publication_repeated",
            Self::PublicationFromNothing => "publication_from_nothing",
            Self::PublicationOfDeadLetter => "publication_of_dead_letter",
            Self::PublicationUnexpected => "publication_unexpected",
            Self::PublicationTopic => "publication_topic",
            Self::PublicationContent => "publication_content",
            Self::SourceEnd => "source_end",
            Self::SourceReplaced => "source_replaced",
            Self::SourceLost => "source_lost",
        }
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What kind of thing.
    pub kind: Kind,
    /// Where and what exactly: names flow, stream, partition and pass where it is of one, and the range or the id.
    pub message: String,
}

/// All that does not hold: the first hundred of each kind, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    kinds: BTreeMap<Kind, OfKind>,
}

#[derive(Clone, Debug, Default)]
struct OfKind {
    count: u64,
    listed: Vec<Violation>,
}

impl Violations {
    /// Adds one; `message` is only made where it is listed.
    pub fn add(&mut self, kind: Kind, message: impl FnOnce() -> String) {
        let of_kind = self.kinds.entry(kind).or_default();
        of_kind.count += 1;
        if of_kind.listed.len() < LISTED {
            of_kind.listed.push(Violation { kind, message: message() });
        }
    }

    /// Adds one of a pass.
    pub(crate) fn add_of(&mut self, kind: Kind, pass: &PassName, message: impl FnOnce() -> String) {
        self.add(kind, || format!("{pass}: {}", message()));
    }

    /// Whether all holds.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        self.kinds.iter().map(|(kind, of_kind)| (*kind, of_kind.count)).collect()
    }

    /// Those that are listed, by kind.
    pub fn listed(&self) -> impl Iterator<Item = &Violation> {
        self.kinds.values().flat_map(|of_kind| &of_kind.listed)
    }

    /// How many of a kind are not listed.
    pub fn left_out(&self) -> BTreeMap<Kind, u64> {
        let left_out = |of_kind: &OfKind| of_kind.count - of_kind.listed.len() as u64;
        let kinds = self.kinds.iter().map(|(kind, of_kind)| (*kind, left_out(of_kind)));
        kinds.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let mut violations = Violations::default();
        for number in 0..1_000_000 {
            violations.add(Kind::Gap, || format!("{number}"));
        }
        violations.add(Kind::Overlap, || "one".to_owned());
        assert_eq!(violations.listed().count(), LISTED + 1);
        assert_eq!(violations.counts(), [(Kind::Gap, 1_000_000), (Kind::Overlap, 1)].into());
        assert_eq!(violations.left_out(), [(Kind::Gap, 999_900)].into());
    }
}
