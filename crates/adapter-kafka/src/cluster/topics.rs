//! Topics by name.

use tally_kafka_client::Error;
use tally_ports::Fault;

use super::Cluster;
use crate::fault::{fault, setting};

/// How many names a message lists.
const NAMES: usize = 5;

/// The topic's partitions, ascending.
pub(super) async fn partitions(cluster: &Cluster, topic: &str) -> Result<Vec<i32>, Fault> {
    let client = cluster.client();
    let found = match client.topic(topic).await {
        Ok(found) => found,
        Err(error @ Error::MissingTopic { .. }) => {
            let known = client.topics().await;
            let known = known.map_err(|error| fault("list the topics", &error))?;
            let names = near(topic, known.iter().map(|known| &*known.name));
            return Err(setting(format!("{error}{}", meant(&names))));
        }
        Err(error) => return Err(fault(&format!("look up {topic}"), &error)),
    };
    if found.partitions.is_empty() {
        let name = cluster.name();
        return Err(Fault::outage(format!("{name}: topic {topic} has no partitions yet")));
    }
    Ok(found.partitions.iter().map(|led| led.partition).collect())
}

fn meant(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => format!(": did you mean {name}?"),
        names => format!(": similar names are {}", names.join(", ")),
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
