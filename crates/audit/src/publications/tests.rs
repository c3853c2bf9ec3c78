use std::sync::Arc;

use tally_ports::audit::{AuditedDeadLetter, Counted, Counts, Unpublished};
use tally_ports::{DeadLetterIdentity, DeliveryGuarantee, State};

use super::*;

const STREAM: &str = "group/from";
const FROM: ReadFrom<'static> = ReadFrom { stream: STREAM, partition: 0, log: 1 };

fn name(pass: i32) -> PassName {
    PassName { flow: "f".into(), stream: STREAM.into(), partition: 0, pass }
}

fn pass(number: i32, next: i64) -> Fact {
    Fact::Pass(Pass {
        name: name(number),
        origin: 1,
        log: 1,
        label: String::new(),
        next,
        has_ended: false,
        cursor: None,
        batches: 1,
        last: None,
        sums: Counts::default(),
    })
}

fn read(first: i64, last: i64) -> Fact {
    Fact::Entry(Entry {
        id: "b".into(),
        pass: name(1),
        first,
        last,
        counts: Counts { read: last - first + 1, ..Counts::default() },
        is_gap: false,
        passed: 0,
        dead_letters: 0,
    })
}

fn counted(first: i64, last: i64) -> Fact {
    let (flow, stream) = ("f".into(), STREAM.into());
    Fact::Counted(Counted { flow, stream, partition: 0, log: 1, first, last })
}

fn letter(position: i64, state: State) -> Fact {
    let (flow, stream) = ("f".into(), STREAM.into());
    let identity = DeadLetterIdentity { flow, stream, partition: 0, pass: 1, position, attempt: 1 };
    Fact::DeadLetter(AuditedDeadLetter {
        id: String::new(),
        identity,
        state: state.as_str().into(),
        batch_id: "b".into(),
        batch: None,
    })
}

fn trace(position: i64, state: State) -> DeadLetterTrace {
    DeadLetterTrace { position, pass: 1, state, is_outdated_by_key: false, is_first: true }
}

/// Positions 0 to 9 of a topic, read and published to `to` and `other`.
struct Case {
    publications: Publications,
    violations: Violations,
}

impl Case {
    fn new(way: Way, delivery: DeliveryGuarantee, more: &[Fact]) -> Self {
        let topics: Topics = ["to", "other", "to"].map(Arc::from).into();
        let given = vec![STREAM.to_owned()];
        let mut publications = Publications::new("f", way, &topics, delivery, given);
        let facts = [pass(1, 10), read(0, 4), read(5, 9), counted(0, 9)];
        facts.iter().chain(more).for_each(|fact| publications.see(fact));
        publications.has_seen_all();
        Self { publications, violations: Violations::default() }
    }

    fn direct() -> Self {
        Self::new(Way::Direct, DeliveryGuarantee::AtLeastOnce, &[])
    }

    fn with(more: &[Fact]) -> Self {
        Self::new(Way::Outbox, DeliveryGuarantee::AtLeastOnce, more)
    }

    fn found(mut self, topic: usize, flow: &str, id: &str, value: &str) -> Self {
        let record = FoundRecord {
            topic,
            partition: 3,
            offset: 70,
            flow: Some(flow.as_bytes()),
            id: Some(id.as_bytes()),
            digest: digest(None, Some(value.as_bytes())),
        };
        self.publications.see_record(record, &mut self.violations);
        self
    }

    /// Something is published of the position.
    fn published(self, position: i64, n: u32) -> Self {
        self.found(0, "f", &format!("{STREAM}/0/1/{position}/{n}"), "value")
    }

    fn letters(mut self, letters: &[DeadLetterTrace]) -> Self {
        for asked in self.publications.suspects() {
            self.publications.see_letters(&asked, letters, &mut self.violations);
        }
        self
    }

    /// The record at the position publishes these values to these outputs.
    fn publishes(
        mut self,
        position: i64,
        all: &[(usize, &str)],
        letters: &[DeadLetterTrace],
    ) -> Self {
        let expected = |&(output, value): &(usize, &str)| ExpectedPublication {
            output,
            digest: digest(None, Some(value.as_bytes())),
        };
        let expected: Vec<_> = all.iter().map(expected).collect();
        let violations = &mut self.violations;
        self.publications.compare(FROM, position, Some(&expected), letters, violations);
        self
    }

    #[track_caller]
    fn finds(mut self, kinds: &[Kind]) -> Published {
        let published = self.publications.finish(&mut self.violations);
        let found: Vec<Kind> = self.violations.counts().into_keys().collect();
        assert_eq!(found, kinds, "{:#?}", self.violations);
        published
    }
}

#[test]
fn what_was_read_may_be_published_more_than_once() {
    let published = Case::direct().published(4, 0).published(9, 0).published(4, 0).finds(&[]);
    assert_eq!((published.records, published.repeats, published.others), (3, 1, 0));
    let once = Case::new(Way::Direct, DeliveryGuarantee::ExactlyOnce, &[]);
    once.published(4, 0).published(4, 1).finds(&[]);
    let once = Case::new(Way::Direct, DeliveryGuarantee::ExactlyOnce, &[]);
    once.published(4, 0).published(4, 0).finds(&[Kind::PublicationRepeated]);
}

#[test]
fn a_repeat_is_the_same() {
    let id = format!("{STREAM}/0/1/4/0");
    let first = || Case::direct().found(0, "f", &id, "a");
    first().found(0, "f", &id, "a").finds(&[]);
    first().found(0, "f", &id, "b").finds(&[Kind::PublicationContent]);
    first().found(1, "f", &id, "a").finds(&[Kind::PublicationTopic]);
}

#[test]
fn what_is_of_others_is_left_alone() {
    let id = format!("{STREAM}/0/1/40/0");
    let published = Case::direct()
        .found(0, "g", &id, "")
        .found(0, "f", "group/elsewhere/0/1/4/0", "")
        .found(1, "f", &format!("{STREAM}/1/1/4/0"), "")
        .found(1, "f", &format!("{STREAM}/0/2/4/0"), "")
        .finds(&[]);
    assert_eq!((published.records, published.others), (0, 4));
    let held: Vec<u64> = published.topics.iter().map(|topic| topic.records).collect();
    assert_eq!(held, [2, 2]);
    Case::direct().found(0, "f", "no id", "").finds(&[Kind::PublicationFromNothing]);
}

#[test]
fn a_batch_may_be_published_and_not_committed() {
    assert_eq!(Case::direct().published(10, 0).published(10, 1).finds(&[]).uncommitted, 1);
    Case::with(&[]).published(10, 0).finds(&[Kind::PublicationFromNothing]);
    let mut committed = Case::with(&[]).published(10, 0);
    assert_eq!(committed.publications.ahead(), [(name(1), 10)]);
    committed.publications.has_read_since(&name(1), 10, 19);
    committed.finds(&[]);
    let mut beyond = Case::direct().published(10, 0);
    beyond.publications.source_ends(FROM, 10);
    beyond.finds(&[Kind::PublicationFromNothing]);
}

#[test]
fn nothing_is_published_of_what_was_not_read() {
    let more = [pass(1, 30), read(20, 29), counted(20, 29)];
    let found = Case::with(&more).published(9, 0).published(20, 0);
    found.published(15, 0).finds(&[Kind::PublicationFromNothing]);
    // Read before the flow published: only a replay publishes it.
    let more = [pass(1, 30), read(10, 29), letter(12, State::Replayed)];
    Case::with(&more).published(12, 0).finds(&[]);
    Case::with(&more).published(13, 0).finds(&[Kind::PublicationFromNothing]);
}

#[test]
fn a_dead_letter_is_published_by_a_replay() {
    let check = |way, state: State, is_by_key: bool, kinds: &[Kind]| {
        let more = [letter(4, state)];
        let letters = [DeadLetterTrace { is_outdated_by_key: is_by_key, ..trace(4, state) }];
        let case = || Case::new(way, DeliveryGuarantee::AtLeastOnce, &more);
        case().published(4, 0).letters(&letters).finds(kinds);
        case().published(5, 0).letters(&letters).finds(&[]);
    };
    let none = &[Kind::PublicationOfDeadLetter];
    for state in [State::Open, State::Discarded, State::Repaired] {
        check(Way::Outbox, state, false, none);
        check(Way::Direct, state, false, none);
    }
    check(Way::Outbox, State::Outdated, true, none);
    for state in [State::Replayed, State::Outdated, State::Purged] {
        check(Way::Outbox, state, false, &[]);
    }
    // A later pass is about to read it again.
    let more = [letter(4, State::Open), pass(2, 3)];
    let again = Case::new(Way::Direct, DeliveryGuarantee::AtLeastOnce, &more);
    let again = again.published(4, 0).letters(&[trace(4, State::Open)]);
    assert_eq!(again.finds(&[]).uncommitted, 1);
}

#[test]
fn each_record_is_in_its_topic_as_the_flow_gives_it() {
    let id = |n| format!("{STREAM}/0/1/4/{n}");
    let all = [(0, "a"), (1, "b"), (2, "c")];
    let both = || Case::direct().found(0, "f", &id(0), "a").found(1, "f", &id(1), "b");
    let published = both().found(0, "f", &id(2), "c").publishes(4, &all, &[]).finds(&[]);
    assert_eq!(published.expected, 3);
    both().publishes(4, &all, &[]).finds(&[Kind::PublicationMissing]);
    let other = both().found(1, "f", &id(2), "c");
    other.publishes(4, &all, &[]).finds(&[Kind::PublicationTopic]);
    let other = both().found(0, "f", &id(2), "d");
    other.publishes(4, &all, &[]).finds(&[Kind::PublicationContent]);
    both().publishes(4, &all[..1], &[]).finds(&[Kind::PublicationUnexpected]);
    both().publishes(4, &[], &[]).finds(&[Kind::PublicationUnexpected]);
}

#[test]
fn what_is_missing_may_stand_in_the_outbox_or_be_deleted() {
    let id = format!("{STREAM}/0/1/4/0");
    let more = [Fact::Unpublished(Unpublished { flow: "f".into(), id })];
    let waiting = Case::with(&more).publishes(4, &[(0, "a")], &[]).finds(&[]);
    assert_eq!((waiting.unpublished, waiting.expected), (1, 1));
    Case::with(&more).publishes(5, &[(0, "a")], &[]).finds(&[Kind::PublicationMissing]);
    let mut deleted = Case::with(&[]);
    deleted.publications.is_not_whole(0);
    assert_eq!(deleted.publishes(5, &[(0, "a")], &[]).finds(&[]).deleted, 1);
}

#[test]
fn dead_letters_are_due_once_they_are_replayed() {
    let check = |seen: State, now: State, published: &[u32], kinds: &[Kind]| {
        let mut case = Case::with(&[letter(4, seen)]);
        for n in published {
            case = case.published(4, *n);
        }
        case.publishes(4, &[(0, "value")], &[trace(4, now)]).finds(kinds);
    };
    let missing = &[Kind::PublicationMissing];
    for state in [State::Replayed, State::Outdated] {
        check(state, state, &[0], &[]);
        check(state, state, &[], missing);
        // Replayed since the audit began.
        check(State::Open, state, &[], &[]);
    }
    check(State::Purged, State::Purged, &[], &[]);
    check(State::Purged, State::Purged, &[0], &[]);
    check(State::Purged, State::Purged, &[0, 1], &[Kind::PublicationUnexpected]);
    check(State::Open, State::Open, &[], &[]);
    // A later pass refused what the first one published.
    let later = DeadLetterTrace { pass: 2, is_first: false, ..trace(4, State::Open) };
    Case::with(&[]).publishes(4, &[(0, "value")], &[later]).finds(missing);
    // Somebody may have corrected what was replayed.
    let replayed = || Case::with(&[letter(4, State::Replayed)]).published(4, 0);
    replayed().publishes(4, &[(0, "other")], &[trace(4, State::Replayed)]).finds(&[]);
}

#[test]
fn a_position_without_a_record_publishes_nothing() {
    let check = |positions: &[i64], kinds: &[Kind]| {
        let mut case = Case::direct().published(2, 0).published(4, 0);
        let positions = positions.iter().copied();
        let violations = &mut case.violations;
        case.publications.compare_with_none(FROM, (1, 5), positions, violations);
        case.finds(kinds);
    };
    check(&[2, 4], &[]);
    check(&[1, 2, 3, 4, 5], &[]);
    check(&[2, 3], &[Kind::PublicationFromNothing]);
    check(&[], &[Kind::PublicationFromNothing]);
}
