//! Dead letters in pages.

use tally_ports::{DeadLetterIdentity, DeadLetterSummary, DeadLetters, Filter};
use uuid::Uuid;

use super::{Ended, ask};
use crate::Process;

/// How many dead letters are listed at once.
const PAGE: usize = 1_000;

/// How many bytes of records are read at once.
const BYTES: i64 = 4 * 1024 * 1024;

/// The dead letters of a filter, page by page.
pub struct Pages<'a, S> {
    process: &'a Process,
    store: &'a S,
    filter: &'a Filter,
    after: Option<DeadLetterIdentity>,
}

impl<'a, S: DeadLetters> Pages<'a, S> {
    /// From the first one on.
    pub const fn new(process: &'a Process, store: &'a S, filter: &'a Filter) -> Self {
        Self { process, store, filter, after: None }
    }

    /// The next page, of at most `most` or a thousand; empty at the end.
    ///
    /// # Errors
    /// When the store stays unavailable, and when a stop is requested meanwhile.
    pub async fn next(&mut self, most: usize) -> Result<Vec<DeadLetterSummary>, Ended> {
        let limit = most.min(PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Self { process, store, filter, after } = &*self;
        let page = ask(process, || store.list(filter, after.as_ref(), limit)).await?;
        if let Some(last) = page.last() {
            self.after = Some(last.identity.clone());
        }
        Ok(page)
    }

    /// Continues after all attempts at the last record, including new ones.
    pub(super) fn skip_attempts(&mut self) {
        self.after = self.after.as_ref().map(DeadLetterIdentity::behind_attempts);
    }
}

/// The ids of parts that can be read at once: at most 4 MiB each, or one that is larger.
pub fn parts(page: &[DeadLetterSummary]) -> Vec<Vec<Uuid>> {
    let mut parts: Vec<Vec<Uuid>> = Vec::new();
    let mut bytes = BYTES;
    for letter in page {
        bytes += letter.bytes;
        match parts.last_mut() {
            Some(part) if bytes <= BYTES => part.push(letter.id),
            _ => {
                parts.push(vec![letter.id]);
                bytes = letter.bytes;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use tally_ports::State;

    use super::*;

    fn listed(bytes: i64) -> DeadLetterSummary {
        let identity = DeadLetterIdentity {
            flow: "f".into(),
            stream: "s".into(),
            partition: 0,
            pass: 1,
            position: bytes,
            attempt: 1,
        };
        DeadLetterSummary {
            id: Uuid::from_u128(bytes.unsigned_abs().into()),
            identity,
            label: None,
            batch_id: Uuid::nil(),
            key: None,
            payload_bytes: None,
            bytes,
            stage: String::new(),
            code: String::new(),
            message: String::new(),
            state: State::Open,
            outdated_by: None,
            failed_at: NaiveDateTime::default(),
            published_at: None,
        }
    }

    #[test]
    fn parts_are_bounded_and_whole() {
        let sizes = [10, BYTES - 10, 1, BYTES + 1, BYTES, 2, 3];
        let page: Vec<DeadLetterSummary> = sizes.into_iter().map(listed).collect();
        let found: Vec<Vec<i64>> = parts(&page)
            .iter()
            .map(|part| part.iter().map(|id| i64::try_from(id.as_u128()).unwrap()).collect())
            .collect();
        let expected: [&[i64]; 5] = [&[10, BYTES - 10], &[1], &[BYTES + 1], &[BYTES], &[2, 3]];
        assert_eq!(found, expected);
    }
}
