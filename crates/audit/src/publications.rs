//! What a flow published, against the ledger and against what its records publish.

mod compare;
mod ids;
mod log;
mod ranges;
mod record;
mod totals;

use std::collections::BTreeMap;

use tally_ports::audit::{Asked, DeadLetterTrace, Entry, Fact, Pass, PassName};
use tally_ports::publish::PublicationId;
use tally_ports::{DeliveryGuarantee, Topics, Way};

use self::ids::{Content, Found};
use self::log::{Due, Log};
pub use self::record::{ExpectedPublication, FoundRecord, ReadFrom, digest};
pub use self::totals::{Published, PublishedTo};
use crate::{Kind, Violations};

/// Dead letters are asked for in ranges of at most so many positions.
const POSITIONS_AT_ONCE: i64 = 10_000;

/// What a flow published, against the ledger and against what its records publish.
///
/// It sees all facts of the store; then all that the topics hold, up to an end that was looked up after the facts; then the
/// dead letters it [asks for](Self::suspects), and what the sources' records publish.
#[derive(Debug)]
pub struct Publications {
    flow: String,
    way: Way,
    delivery: DeliveryGuarantee,
    /// For each output the index of its topic.
    outputs: Vec<u8>,
    /// The streams that are compared with their sources.
    given: Vec<String>,
    /// By stream, then by partition and pass.
    passes: BTreeMap<String, BTreeMap<(i32, i32), i64>>,
    /// By stream, then by partition and log.
    logs: BTreeMap<String, BTreeMap<(i32, i64), Log>>,
    totals: Published,
}

impl Publications {
    /// Of a flow that publishes in this way to these topics, one for each output. Streams that are `given` are compared
    /// with their sources.
    pub fn new(
        flow: &str,
        way: Way,
        topics: &Topics,
        delivery: DeliveryGuarantee,
        given: Vec<String>,
    ) -> Self {
        let mut totals = Published { flow: flow.to_owned(), ..Published::default() };
        let mut outputs = Vec::with_capacity(topics.len());
        for topic in &**topics {
            let known = totals.topics.iter().position(|known| known.topic == **topic);
            let index = known.unwrap_or_else(|| {
                let topic = topic.to_string();
                totals.topics.push(PublishedTo { topic, records: 0, is_whole: true });
                totals.topics.len() - 1
            });
            outputs.push(u8::try_from(index).unwrap_or(u8::MAX));
        }
        let flow = flow.to_owned();
        let (passes, logs) = (BTreeMap::new(), BTreeMap::new());
        Self { flow, way, delivery, outputs, given, passes, logs, totals }
    }

    /// The flow's name.
    pub fn flow(&self) -> &str {
        &self.flow
    }

    /// The topics, each once.
    pub fn topics(&self) -> Vec<String> {
        self.totals.topics.iter().map(|of| of.topic.clone()).collect()
    }

    /// Takes in one fact.
    pub fn see(&mut self, fact: &Fact) {
        match fact {
            Fact::Pass(pass) if pass.name.flow == self.flow => self.see_pass(pass),
            Fact::Entry(Entry { pass, first, last, counts, is_gap: false, .. })
                if pass.flow == self.flow && counts.read > 0 =>
            {
                if let Some(log) = self.log_of_pass(&pass.stream, (pass.partition, pass.pass)) {
                    log.read.add(*first, *last);
                }
            }
            Fact::DeadLetter(letter) if letter.identity.flow == self.flow => {
                let of = &letter.identity;
                if let Some(log) = self.log_of_pass(&of.stream, (of.partition, of.pass)) {
                    log.see_letter(of.position, &letter.state);
                }
            }
            Fact::Counted(range) if range.flow == self.flow => {
                if let Some(log) = self.log(&range.stream, (range.partition, range.log)) {
                    log.counted.add(range.first, range.last);
                }
            }
            Fact::Unpublished(unpublished) if unpublished.flow == self.flow => {
                self.totals.unpublished += 1;
                let Some(id) = PublicationId::parse(&unpublished.id) else { return };
                if let Some(log) = self.log(id.stream, (id.partition, id.log)) {
                    log.unpublished.insert(id.position, id.n, None);
                }
            }
            _ => {}
        }
    }

    fn see_pass(&mut self, pass: &Pass) {
        let PassName { stream, partition, pass: number, .. } = &pass.name;
        let is_given = self.given.contains(stream);
        let of_stream = self.passes.entry(stream.clone()).or_default();
        of_stream.insert((*partition, *number), pass.log);
        let logs = self.logs.entry(stream.clone()).or_default();
        let log = logs
            .entry((*partition, pass.log))
            .or_insert_with(|| Log::new(pass.name.clone(), pass.log, is_given));
        log.pass = pass.name.clone();
        (log.next, log.has_ended) = (pass.next, pass.has_ended);
    }

    fn log(&mut self, stream: &str, key: (i32, i64)) -> Option<&mut Log> {
        self.logs.get_mut(stream)?.get_mut(&key)
    }

    fn log_of_pass(&mut self, stream: &str, key: (i32, i32)) -> Option<&mut Log> {
        let log = *self.passes.get(stream)?.get(&key)?;
        self.log(stream, (key.0, log))
    }

    fn logs(&mut self) -> impl Iterator<Item = &mut Log> {
        self.logs.values_mut().flat_map(BTreeMap::values_mut)
    }

    /// There are no more facts.
    pub fn has_seen_all(&mut self) {
        for log in self.logs() {
            log.read.seal();
            log.counted.seal();
        }
    }

    /// Takes in a record of a topic.
    pub fn see_record(&mut self, record: FoundRecord<'_>, violations: &mut Violations) {
        let FoundRecord { topic: index, partition, offset, flow, id, digest } = record;
        let Self { delivery, logs, totals, .. } = self;
        let Published { topics, records, repeats, others, .. } = totals;
        topics[index].records += 1;
        let topic = &topics[index].topic;
        if flow != Some(self.flow.as_bytes()) {
            *others += 1;
            return;
        }
        let id = id.and_then(|id| PublicationId::parse(str::from_utf8(id).ok()?));
        let Some(PublicationId { stream, partition: of_partition, log, position, n }) = id else {
            violations.add(Kind::PublicationFromNothing, || {
                format!(
                    "{}: the record at {offset} of {topic}/{partition} has no readable id",
                    self.flow
                )
            });
            return;
        };
        let Some(log) = logs.get_mut(stream).and_then(|logs| logs.get_mut(&(of_partition, log)))
        else {
            *others += 1;
            return;
        };
        if !log.has_read(position) {
            if log.is_ahead(position) {
                log.ahead.insert(position);
            } else {
                add_from_nothing(log, position, violations);
            }
            return;
        }
        *records += 1;
        let of_topic = u8::try_from(index).unwrap_or(u8::MAX);
        let content = log.is_given.then_some(Content { topic: of_topic, digest });
        let Found::Record(before) = log.published.insert(position, n, content) else { return };
        *repeats += 1;
        let again = || {
            format!(
                "{}: record {n} of the one at {position} is there again at {offset} of {topic}/{partition}",
                log.name()
            )
        };
        if *delivery == DeliveryGuarantee::ExactlyOnce {
            violations.add(Kind::PublicationRepeated, again);
        }
        if let (Some(before), Some(content)) = (before, content)
            && before != content
        {
            let is_moved = before.topic != content.topic;
            let kind = if is_moved { Kind::PublicationTopic } else { Kind::PublicationContent };
            violations.add(kind, || again() + ", and is another one");
        }
    }

    /// The topic of this index no longer holds all that was ever written to it, or not readable.
    pub fn is_not_whole(&mut self, topic: usize) {
        self.totals.topics[topic].is_whole = false;
    }

    /// The passes whose positions the topics are ahead of, and where these stood.
    pub fn ahead(&self) -> Vec<(PassName, i64)> {
        let logs = self.logs.values().flat_map(BTreeMap::values);
        let ahead = logs.filter(|log| log.ahead.iter().next().is_some());
        ahead.map(|log| (log.pass.clone(), log.next)).collect()
    }

    /// The pass, or one after it over the same log, has read these positions since.
    pub fn has_read_since(&mut self, pass: &PassName, first: i64, last: i64) {
        if let Some(log) = self.log_of_pass(&pass.stream, (pass.partition, pass.pass)) {
            log.ahead.remove(first, last);
        }
    }

    /// What to ask about dead letters of which something is in the topics.
    pub fn suspects(&self) -> Vec<Asked> {
        let mut all: Vec<Asked> = Vec::new();
        for log in self.logs.values().flat_map(BTreeMap::values) {
            let mut first = None;
            for position in log.suspected() {
                match (all.last_mut(), first) {
                    (Some(asked), Some(first)) if position - first < POSITIONS_AT_ONCE => {
                        asked.last = position;
                    }
                    _ => {
                        first = Some(position);
                        let (pass, keys) = (log.pass.clone(), Vec::new());
                        let (first, last) = (position, position);
                        all.push(Asked { pass, log: log.number, first, last, keys });
                    }
                }
            }
        }
        all
    }

    /// Takes in the dead letters that were asked for.
    pub fn see_letters(
        &mut self,
        asked: &Asked,
        letters: &[DeadLetterTrace],
        violations: &mut Violations,
    ) {
        let is_direct = self.way == Way::Direct;
        let mut uncommitted = 0;
        let Some(log) = self.log(&asked.pass.stream, (asked.pass.partition, asked.log)) else {
            return;
        };
        for position in log.suspected().filter(|at| (asked.first..=asked.last).contains(at)) {
            let from = letters.partition_point(|letter| letter.position < position);
            if log.due(position, &letters[from..]) != Due::Not {
                continue;
            }
            // A pass that reads it again publishes it before it commits.
            if is_direct && log.is_ahead(position) {
                uncommitted += 1;
                continue;
            }
            violations.add(Kind::PublicationOfDeadLetter, || {
                let count = log.published.of(position).count();
                format!(
                    "{}: the record at {position} is a dead letter that was not replayed, and {count} records of it are published",
                    log.name()
                )
            });
        }
        self.totals.uncommitted += uncommitted;
    }

    /// After the last position of the log of which something should be published.
    pub fn end(&self, from: ReadFrom<'_>) -> i64 {
        self.of(from).map_or(0, |log| log.counted.end())
    }

    /// Whether the record at `position` may have been published.
    pub fn has_read(&self, from: ReadFrom<'_>, position: i64) -> bool {
        self.of(from).is_some_and(|log| log.has_read(position))
    }

    fn of(&self, ReadFrom { stream, partition, log }: ReadFrom<'_>) -> Option<&Log> {
        self.logs.get(stream)?.get(&(partition, log))
    }

    /// The source ends before `end`.
    pub fn source_ends(&mut self, from: ReadFrom<'_>, end: i64) {
        if let Some(log) = self.log(from.stream, (from.partition, from.log)) {
            log.source_end = Some(end);
        }
    }

    /// There is nothing more to compare.
    pub fn finish(mut self, violations: &mut Violations) -> Published {
        let mut uncommitted = 0;
        let is_direct = self.way == Way::Direct;
        for log in self.logs() {
            for position in log.ahead.iter() {
                // A batch is published before it is committed, and an outbox after it.
                if is_direct && log.source_end.is_none_or(|end| position < end) {
                    uncommitted += 1;
                } else {
                    add_from_nothing(log, position, violations);
                }
            }
        }
        self.totals.uncommitted += uncommitted;
        self.totals
    }
}

impl Log {
    /// The positions with dead letters of which something is in the topics.
    fn suspected(&self) -> impl Iterator<Item = i64> {
        self.suspects.iter().filter(|position| self.published.of(*position).next().is_some())
    }
}

fn add_from_nothing(log: &Log, position: i64, violations: &mut Violations) {
    violations.add(Kind::PublicationFromNothing, || {
        format!(
            "{}: a record of the position {position} is published, where the ledger says that nothing was read",
            log.name()
        )
    });
}

#[cfg(test)]
mod tests;
