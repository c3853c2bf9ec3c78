//! Dead letters on a topic.

use std::fmt;

use tally_ports::{Fault, PublishDeadLetters, RelayedDeadLetter, StopKind};
use tokio::sync::OnceCell;

use super::event::Event;
use super::{Encoder, Registry};
use crate::{Outgoing, Publisher};

/// The Avro schema of events.
const SCHEMA: &str = include_str!("../../../../infra/schemas/dlqs_v1.avsc");

/// A topic that is told of dead letters: each an event, JSON, or Avro where a registry is set.
///
/// What is over the topic's limit is cut until it fits, and says so.
pub struct DeadLetterTopic {
    publisher: Publisher,
    topic: String,
    service: String,
    registry: Option<Registry>,
    encoder: OnceCell<Encoder>,
}

impl DeadLetterTopic {
    /// Events of `service`, the program's name, to the `topic` that `publisher` writes to. The registry is first asked
    /// when there is something to publish.
    pub fn new(
        publisher: Publisher,
        topic: &str,
        service: &str,
        registry: Option<Registry>,
    ) -> Self {
        let (topic, service) = (topic.to_owned(), service.to_owned());
        Self { publisher, topic, service, registry, encoder: OnceCell::new() }
    }

    async fn encoder(&self) -> Result<Encoder, Fault> {
        match &self.registry {
            None => Ok(Encoder::json()),
            Some(registry) => Encoder::avro(registry, &self.topic, SCHEMA).await,
        }
    }

    fn too_large(&self, letter: &RelayedDeadLetter) -> Fault {
        Fault::stop(
            StopKind::Setting,
            format!(
                "dead letter {} does not fit topic {} even without its payload: raise the topic's max.message.bytes",
                letter.id, self.topic
            ),
        )
    }
}

impl PublishDeadLetters for DeadLetterTopic {
    async fn publish(&self, letters: &[RelayedDeadLetter]) -> Result<(), Fault> {
        let encoder = self.encoder.get_or_try_init(|| self.encoder()).await?;
        let mut events: Vec<_> =
            letters.iter().map(|letter| Event::new(letter, &self.service)).collect();

        // Those that are too large are cut, and only they are sent again.
        let mut left: Vec<usize> = (0..events.len()).collect();
        while !left.is_empty() {
            let records: Result<Vec<_>, Fault> =
                left.iter().map(|&at| record(&events[at], encoder)).collect();
            let too_large = self.publisher.publish(&records?).await?;
            left = too_large.into_iter().map(|place| left[place]).collect();
            for &at in &left {
                let cut = events[at].cut();
                events[at] = cut.ok_or_else(|| self.too_large(&letters[at]))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DeadLetterTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn record(event: &Event<'_>, encoder: &Encoder) -> Result<Outgoing, Fault> {
    let value = encoder.encode(event)?;
    Ok(Outgoing { key: Some(event.key()), value: Some(value), headers: event.headers() })
}
