//! What earlier passes over a log left behind in memory.

use tally_ports::position::FILE;
use tally_ports::{
    Commit, Earlier, LogRange, OpenDeadLetter, OutdatedBy, State as DeadLetterState,
};

use super::{DeadLetterRow, Log, State, is_same};

impl State {
    /// What is there of the positions of a range.
    pub(super) fn earlier(&self, read: &LogRange) -> Earlier {
        let range = read.first..=read.last;
        let open = self.dead_letters.iter().filter(|stored| {
            stored.state == DeadLetterState::Open
                && range.contains(&stored.dead_letter.position)
                && self.is_of_log(stored, read)
        });
        let open = open.map(|stored| {
            let position = stored.dead_letter.position;
            let has_read = self.batches.iter().any(|entry| {
                is_same(&entry.stream, &read.stream)
                    && self.log_of(&entry.stream, entry.pass) == Some(read.log)
                    && entry.pass < stored.pass
                    && (entry.first..=entry.last).contains(&position)
                    && entry.read > 0
            });
            OpenDeadLetter { position, is_uncounted: !has_read }
        });
        let counted = self.counted.get(&log(read)).cloned().unwrap_or_default();
        Earlier { counted, open: open.collect() }
    }

    /// Outdates the open dead letters of these positions in the log, and those of earlier passes and other files under these
    /// keys.
    pub(super) fn outdate(&mut self, commit: &Commit, positions: &[i64], keys: &[&[u8]]) {
        let read = commit.range();
        let rule = |stored: &DeadLetterRow| {
            let raw = &stored.dead_letter.raw;
            let is_under_key = raw.key.as_deref().is_some_and(|key| keys.contains(&key));
            let is_elsewhere =
                stored.stream.name != commit.stream.name || stored.pass < commit.pass;
            if stored.state != DeadLetterState::Open || stored.stream.flow != commit.stream.flow {
                None
            } else if positions.contains(&stored.dead_letter.position)
                && self.is_of_log(stored, &read)
            {
                Some(OutdatedBy::Position)
            } else if is_under_key && is_elsewhere && stored.stream.name.starts_with(FILE) {
                Some(OutdatedBy::Key)
            } else {
                None
            }
        };
        let rules: Vec<Option<OutdatedBy>> = self.dead_letters.iter().map(rule).collect();
        for (stored, rule) in self.dead_letters.iter_mut().zip(rules) {
            if rule.is_some() {
                (stored.state, stored.outdated_by) = (DeadLetterState::Outdated, rule);
            }
        }
    }

    /// The positions of a batch are counted.
    pub(super) fn note_counted(&mut self, commit: &Commit) {
        self.counted.entry(log(&commit.range())).or_default().push((commit.first, commit.last));
    }

    fn is_of_log(&self, stored: &DeadLetterRow, read: &LogRange) -> bool {
        is_same(&stored.stream, &read.stream)
            && self.log_of(&stored.stream, stored.pass) == Some(read.log)
    }

    fn log_of(&self, stream: &tally_ports::Stream, pass: i32) -> Option<i64> {
        let is_of_pass =
            |row: &&super::PositionRow| is_same(&row.stream, stream) && row.pass == pass;
        self.positions.iter().find(is_of_pass).map(|row| row.log)
    }
}

fn log(read: &LogRange) -> Log {
    let stream = &*read.stream;
    (stream.flow.clone(), stream.name.clone(), stream.partition, read.log)
}
