//! Topics by name.

use rskafka::client::Client;
use rskafka::topic::Topic;
use tally_ports::Fault;

use super::Cluster;

/// How many names a message lists.
const NAMES: usize = 5;

/// The topic's partitions, ascending; the fault that `missing` makes of a message where there is none. To be asked before a topic is opened: the client's requests for one topic's
/// metadata create it where brokers create topics by themselves.
pub(super) async fn partitions(
    cluster: &Cluster,
    client: &Client,
    generation: u64,
    topic: &str,
    missing: fn(String) -> Fault,
) -> Result<Vec<i32>, Fault> {
    let topics = Box::pin(client.list_topics()).await;
    let topics = topics.map_err(|error| cluster.fault(generation, "list the topics", &error))?;
    match topics.iter().find(|found| found.name == topic) {
        Some(found) if found.partitions.is_empty() => {
            Err(Fault::outage(format!("{}: topic {topic} has no partitions yet", cluster.name())))
        }
        Some(found) => Ok(found.partitions.iter().copied().collect()),
        None => Err(missing(format!("{}: {}", cluster.name(), is_missing(topic, &topics)))),
    }
}

fn is_missing(topic: &str, topics: &[Topic]) -> String {
    let names = near(topic, topics.iter().map(|topic| topic.name.as_str()));
    match names.as_slice() {
        [] => format!("there is no topic {topic}"),
        [name] => format!("there is no topic {topic}: did you mean {name}?"),
        names => format!("there is no topic {topic}: similar names are {}", names.join(", ")),
    }
}

/// The names that `name` may be a misspelling of, the nearest first.
fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = names
        .map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(distance, other)| *distance <= name.len().min(other.len()).div_ceil(3))
        .collect();
    found.sort_unstable();
    found.into_iter().take(NAMES).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_found() {
        let names = ["transactions", "transactions-dlq", "companies", "user-logins", "t"];
        let near = |name| near(name, names.into_iter());
        assert_eq!(near("transaction"), ["transactions"]);
        assert_eq!(near("Transcations"), ["transactions"]);
        assert_eq!(near("transactions-dlx"), ["transactions-dlq", "transactions"]);
        assert_eq!(near("user_logins"), ["user-logins"]);
        assert!(near("payments").is_empty());
    }
}
