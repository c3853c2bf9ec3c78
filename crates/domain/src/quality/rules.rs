//! The settings of quality rules.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess};
use serde::{Deserialize, Serialize};

/// The consequence when the rate of a rule is above its threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It appears in the log, the ledger and the metrics.
    #[default]
    Warn,
    /// The records that break the rule become dead letters.
    Quarantine,
    /// The batch is not committed and the run stops.
    Stop,
}

/// The settings of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The share of the last records, 0 to 1, above which the policy applies.
    pub threshold: f64,
    /// The consequence then.
    pub policy: Policy,
}

impl Default for Rule {
    fn default() -> Self {
        Self { threshold: 0.1, policy: Policy::Warn }
    }
}

/// The settings of a flow's rules. In a file the rules stand beside the window, each under its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rules {
    /// A rate is the share of so many of a partition's last records.
    pub window: usize,
    /// A rule that is not named has the default.
    #[serde(flatten)]
    pub by_name: BTreeMap<String, Rule>,
}

impl Rules {
    /// The settings of a rule.
    pub fn of(&self, name: &str) -> Rule {
        self.by_name.get(name).copied().unwrap_or_default()
    }

    /// The same, where no rule has another consequence than a warning.
    #[must_use]
    pub fn only_warning(&self) -> Self {
        let mut rules = self.clone();
        for rule in rules.by_name.values_mut() {
            rule.policy = Policy::Warn;
        }
        rules
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { window: 1_000, by_name: BTreeMap::new() }
    }
}

/// By hand, since a flattened map loses the path of a setting that is wrong.
impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Rules;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("quality rules and their window")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rules, A::Error> {
        let mut rules = Rules::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "window" {
                rules.window = map.next_value()?;
            } else {
                rules.by_name.insert(name, map.next_value()?);
            }
        }
        Ok(rules)
    }
}
