//! Batches that their broker does not find.
//!
//! A broker finds an offset by walking over the batches before it, from the nearest one in its index on. Where the length
//! or the format of one of them is damaged, it answers an error, or nothing, or a few bytes only. Asked for an offset
//! before that one, it sends what follows unseen, and the damage shows.

use std::time::Duration;

use kafka_protocol::error::ResponseError;

use super::{Answer, Fetch, Fetched};
use crate::error::Error;
use crate::offsets::Isolation;
use crate::partition::Partition;

/// So many bytes are asked for at least: the damaged batch, and those before and behind it.
const REACH: i32 = 1 << 20;

/// Whether a broker answers this where it has come to a length below that of any batch, or to a format that the batch
/// does not have.
pub(super) fn tells_of_damage(code: ResponseError) -> bool {
    matches!(
        code,
        ResponseError::CorruptMessage
            | ResponseError::InvalidRecord
            | ResponseError::UnsupportedCompressionType
    )
}

/// Whether looking back is worth it: of what they have not expected, brokers tell as of any other fault of theirs.
pub(super) fn may_be_damage(error: &Error) -> bool {
    let is_unknown = error.code() == Some(ResponseError::UnknownServerError);
    is_unknown || matches!(error, Error::Damaged { .. })
}

impl Answer {
    /// Whether there is something to be read, and the answer does not have it.
    pub(super) fn lacks_a_batch(&self, fetch: Fetch) -> bool {
        let end = match fetch.isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        };
        fetch.from < end && !self.batches.begins_with_a_header()
    }
}

impl Partition {
    /// What is seen of the wanted offset from further and further before it; none where that is nothing.
    ///
    /// It is nothing, too, where compaction removed everything up to the end of the log.
    pub(super) async fn look_back(&self, fetch: Fetch) -> Result<Option<Fetched>, Error> {
        let max_bytes = fetch.max_bytes.max(REACH);
        let wide = Fetch { max_bytes, max_wait: Duration::ZERO, ..fetch };
        let earliest = self.earliest().await?;
        let mut back = 0;
        loop {
            let at = fetch.from.saturating_sub(back).max(earliest);
            match self.fetch_at(at, wide).await {
                Ok(Fetched::Answer(mut answer)) if !answer.batches.is_at_end() => {
                    let asked = usize::try_from(max_bytes).unwrap_or(usize::MAX);
                    answer.batches = answer.batches.since(at, asked);
                    let is_seen = answer.batches.clone().next().is_some();
                    return Ok(is_seen.then_some(Fetched::Answer(answer)));
                }
                Ok(Fetched::Answer(_)) => {}
                Err(error) if may_be_damage(&error) => {}
                outcome => return outcome.map(Some),
            }
            if at <= earliest {
                return Ok(None);
            }
            back = (back * 2).max(1);
        }
    }
}
