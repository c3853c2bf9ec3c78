//! What earlier passes over a log left behind in memory.

use tally_ports::{Commit, Earlier, OpenDeadLetter, State as DeadLetterState};

use super::{DeadLetterRow, Log, State, is_same};

impl State {
    /// What is there of the positions of a batch.
    pub(super) fn earlier(&self, commit: &Commit) -> Earlier {
        let range = commit.first..=commit.last;
        let open = self.dead_letters.iter().filter(|stored| {
            stored.state == DeadLetterState::Open
                && range.contains(&stored.dead_letter.position)
                && self.is_of_log(stored, commit)
        });
        let open = open.map(|stored| {
            let position = stored.dead_letter.position;
            let has_read = self.batches.iter().any(|entry| {
                is_same(&entry.stream, &commit.stream)
                    && self.log_of(&entry.stream, entry.pass) == Some(commit.log)
                    && entry.pass < stored.pass
                    && (entry.first..=entry.last).contains(&position)
                    && entry.read > 0
            });
            OpenDeadLetter { position, is_uncounted: !has_read }
        });
        let counted = self.counted.get(&log(commit)).cloned().unwrap_or_default();
        Earlier { counted, open: open.collect() }
    }

    /// Closes the open dead letters of these positions.
    pub(super) fn close(&mut self, commit: &Commit, positions: &[i64]) {
        let closed: Vec<usize> = (0..self.dead_letters.len())
            .filter(|&index| {
                let stored = &self.dead_letters[index];
                stored.state == DeadLetterState::Open
                    && positions.contains(&stored.dead_letter.position)
                    && self.is_of_log(stored, commit)
            })
            .collect();
        for index in closed {
            self.dead_letters[index].state = DeadLetterState::Replayed;
        }
    }

    /// The positions of a batch are counted.
    pub(super) fn note_counted(&mut self, commit: &Commit) {
        self.counted.entry(log(commit)).or_default().push((commit.first, commit.last));
    }

    fn is_of_log(&self, stored: &DeadLetterRow, commit: &Commit) -> bool {
        is_same(&stored.stream, &commit.stream)
            && self.log_of(&stored.stream, stored.pass) == Some(commit.log)
    }

    fn log_of(&self, stream: &tally_ports::Stream, pass: i32) -> Option<i64> {
        let is_of_pass =
            |row: &&super::PositionRow| is_same(&row.stream, stream) && row.pass == pass;
        self.positions.iter().find(is_of_pass).map(|row| row.log)
    }
}

fn log(commit: &Commit) -> Log {
    let stream = &*commit.stream;
    (stream.flow.clone(), stream.name.clone(), stream.partition, commit.log)
}
