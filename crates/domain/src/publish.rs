//! Records that a flow publishes to topics.

use std::fmt;

use bytes::Bytes;

use crate::flow::{Flow, Name};
use crate::record::Record;

/// The headers whose names begin so are the engine's.
pub const RESERVED_HEADERS: &str = "tally.";

/// One of the topics that a flow publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the settings.
    pub name: Name,
    /// The topic where no setting names one.
    pub topic: Name,
}

impl Output {
    /// An output with its topic.
    pub const fn new(name: &'static str, topic: &'static str) -> Self {
        Self { name: Name::Borrowed(name), topic: Name::Borrowed(topic) }
    }
}

/// A record for a topic. Its `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The index of the topic among [`Flow::outputs`].
    pub output: usize,
    /// Publications of one key go to one partition, in order.
    pub key: Option<Bytes>,
    /// Its content; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order. No name may begin with [`RESERVED_HEADERS`].
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").field("output", &self.output).finish_non_exhaustive()
    }
}

/// Checks that what a record publishes fits the flow's description.
///
/// # Errors
/// What is wrong, to follow the name of the flow: a bug in it.
pub fn check(flow: &dyn Flow, record: &Record) -> Result<(), String> {
    for publication in &record.publications {
        if publication.output >= flow.outputs().len() {
            return Err("publishes to an output that it does not describe".to_owned());
        }
        let reserved =
            publication.headers.iter().find(|(name, _)| name.starts_with(RESERVED_HEADERS));
        if let Some((name, _)) = reserved {
            return Err(format!("publishes a header {name:?}, a name that the engine reserves"));
        }
    }
    Ok(())
}
