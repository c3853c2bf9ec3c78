//! What a record of a source publishes, against what the topics hold.

use tally_ports::State;
use tally_ports::audit::DeadLetterTrace;

use super::ids::Found;
use super::log::Due;
use super::{ExpectedPublication, Publications, ReadFrom, add_from_nothing};
use crate::{Kind, Violations};

impl Publications {
    /// Finds what is published of positions from `first` to `last` at which the source has no record: it has those at
    /// `positions`, in order.
    pub fn compare_with_none(
        &mut self,
        from: ReadFrom<'_>,
        (first, last): (i64, i64),
        positions: impl Iterator<Item = i64>,
        violations: &mut Violations,
    ) {
        let Some(log) = self.of(from) else { return };
        let mut next = first;
        for position in positions.chain([last.saturating_add(1)]) {
            for none in (next..position).filter(|none| log.published.of(*none).next().is_some()) {
                add_from_nothing(log, none, violations);
            }
            next = position.saturating_add(1);
        }
    }

    /// Compares what the record at `position` publishes, `None` for one that is not valid, with what is there; `letters` are
    /// the dead letters of the log from there on, in order.
    pub fn compare(
        &mut self,
        from: ReadFrom<'_>,
        position: i64,
        expected: Option<&[ExpectedPublication]>,
        letters: &[DeadLetterTrace],
        violations: &mut Violations,
    ) {
        let Self { logs, totals, outputs, .. } = self;
        let log = logs.get(from.stream).and_then(|logs| logs.get(&(from.partition, from.log)));
        // What is not valid has a dead letter, which a replay may have read by another rule.
        let Some((log, expected)) = log.filter(|log| log.has_read(position)).zip(expected) else {
            return;
        };
        let due = log.due(position, letters);
        if due == Due::Not {
            return;
        }
        // A replay publishes what the dead letter holds, and somebody may have corrected that.
        let of_record = letters.iter().take_while(|letter| letter.position == position);
        let is_replayed =
            { of_record }.any(|letter| matches!(letter.state, State::Replayed | State::Purged));
        for (n, publication) in (0..).zip(expected) {
            let topic = outputs[publication.output];
            let of_topic = &totals.topics[usize::from(topic)];
            totals.expected += u64::from(due == Due::Must);
            let what = || format!("{}: record {n} of the one at {position}", log.name());
            match log.published.found(position, n) {
                Found::Nothing if due == Due::May || log.unpublished.has(position, n) => {}
                Found::Nothing if !of_topic.is_whole => totals.deleted += 1,
                Found::Nothing => violations.add(Kind::PublicationMissing, || {
                    format!("{} is not in {}", what(), of_topic.topic)
                }),
                Found::Record(Some(found)) if found.topic != topic => {
                    violations.add(Kind::PublicationTopic, || {
                        let found = &totals.topics[usize::from(found.topic)].topic;
                        format!("{} is in {found}, and belongs into {}", what(), of_topic.topic)
                    });
                }
                Found::Record(Some(found))
                    if found.digest != publication.digest && !is_replayed =>
                {
                    violations.add(Kind::PublicationContent, || {
                        let topic = &of_topic.topic;
                        format!(
                            "{} has another key or value in {topic} than the flow gives it",
                            what()
                        )
                    });
                }
                Found::Record(_) => {}
            }
        }
        for n in log.published.of(position) {
            if usize::try_from(n).is_ok_and(|n| n >= expected.len()) {
                violations.add(Kind::PublicationUnexpected, || {
                    let (name, count) = (log.name(), expected.len());
                    format!("{name}: record {n} of the one at {position} is published, which publishes {count}")
                });
            }
        }
    }
}
