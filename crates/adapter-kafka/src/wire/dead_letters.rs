//! Dead letters on a topic.

use std::fmt;
use std::ops::Range;

use tally_ports::{Fault, Letter, Publish, StopKind};
use tokio::sync::OnceCell;

use super::event::Event;
use super::{Encoder, Registry};
use crate::{Outgoing, Publisher, Unpublished};

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

    fn too_large(&self, letter: &Letter) -> Fault {
        Fault::stop(
            StopKind::Setting,
            format!(
                "dead letter {} does not fit topic {} even without its payload: raise the topic's max.message.bytes",
                letter.id, self.topic
            ),
        )
    }
}

impl Publish for DeadLetterTopic {
    async fn publish(&self, letters: &[Letter]) -> Result<(), Fault> {
        let encoder = self.encoder.get_or_try_init(|| self.encoder()).await?;
        let mut events: Vec<_> =
            letters.iter().map(|letter| Event::new(letter, &self.service)).collect();

        // What is still to be published, the first last. What is too large is set apart, so that only it is sent again
        // while it is cut.
        let mut parts = vec![Range { start: 0, end: events.len() }];
        while let Some(part) = parts.pop() {
            let records: Result<_, Fault> =
                events[part.clone()].iter().map(|event| record(event, encoder)).collect();
            match self.publisher.publish(records?).await {
                Ok(()) => {}
                Err(Unpublished::Fault(fault)) => return Err(fault),
                Err(Unpublished::TooLarge { index }) => {
                    let at = part.start + index;
                    if part.len() == 1 {
                        let cut = events[at].cut();
                        events[at] = cut.ok_or_else(|| self.too_large(&letters[at]))?;
                    }
                    parts.extend(around(part, at));
                }
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

/// What comes after the place `at`, the place alone, and what comes before it.
fn around(part: Range<usize>, at: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = [at + 1..part.end, at..at + 1, part.start..at];
    parts.into_iter().filter(|part| !part.is_empty())
}
