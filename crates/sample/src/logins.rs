//! Logins of users, as apps report them.

use std::fmt::Write;

use bytes::Bytes;
use tally_domain::Raw;

use crate::random::Random;
use crate::spoiled;

/// 2026-01-01T00:00:00Z; a second passes from login to login.
const FIRST: u64 = 1_767_225_600;
const USERS: usize = 10_000;
/// Repeated entries are more frequent.
const DEVICE_TYPES: &[&str] = &["android", "android", "android", "ios", "ios", "web", "tablet"];
const LOCALES: &[&str] =
    &["en-US", "en-US", "en-US", "fr-FR", "fr-FR", "de-DE", "es-ES", "pt-BR", "ru-RU", "ja-JP"];
const APP_VERSIONS: &[&str] = &["2.3.0", "2.3.0", "2.2.1", "2.2.0", "2.1.4"];

/// What can be wrong with a login. A spoiled one has exactly one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginFault {
    /// No device type.
    DeviceTypeMissing,
    /// No user.
    UserMissing,
    /// No time.
    TimestampMissing,
    /// A number instead of a text.
    WrongType,
    /// No value where one has to be.
    Null,
    /// Only the first half of the JSON.
    NotJson,
    /// No bytes at all.
    Empty,
    /// The time in quotes.
    TimestampText,
    /// The time in milliseconds.
    TimestampMilliseconds,
    /// The time below 0.
    TimestampNegative,
}

/// Every fault, in the order in which spoiled logins take them; repeated ones are more frequent.
pub const LOGIN_FAULTS: [LoginFault; 13] = [
    LoginFault::DeviceTypeMissing,
    LoginFault::NotJson,
    LoginFault::DeviceTypeMissing,
    LoginFault::WrongType,
    LoginFault::TimestampText,
    LoginFault::DeviceTypeMissing,
    LoginFault::Empty,
    LoginFault::UserMissing,
    LoginFault::TimestampMilliseconds,
    LoginFault::DeviceTypeMissing,
    LoginFault::Null,
    LoginFault::TimestampNegative,
    LoginFault::TimestampMissing,
];

impl LoginFault {
    /// The code of the dead letter that such a login becomes.
    pub fn code(self) -> &'static str {
        match self {
            Self::DeviceTypeMissing | Self::UserMissing | Self::TimestampMissing => {
                "schema_required"
            }
            Self::WrongType | Self::Null | Self::TimestampText => "schema_type",
            Self::NotJson | Self::Empty => "json",
            Self::TimestampMilliseconds => "schema_exclusiveMaximum",
            Self::TimestampNegative => "schema_minimum",
        }
    }
}

/// Logins without an end: number `n` of a seed is always the same. Each has its user as the key, a spoiled one, too.
#[derive(Clone, Debug)]
pub struct Logins {
    seed: u64,
    spoil_share: f64,
    number: u64,
}

impl Logins {
    /// From the first one on; the share from 0 to 1 of `spoil_share` has a fault, see [`Logins::fault_of`].
    pub fn new(seed: u64, spoil_share: f64) -> Self {
        Self { seed, spoil_share, number: 0 }
    }

    /// The fault of a login, counted from 0. They are spread evenly, and take the [`LOGIN_FAULTS`] in turn.
    pub fn fault_of(&self, number: u64) -> Option<LoginFault> {
        let before = spoiled(number, self.spoil_share);
        let spoiled_here = spoiled(number + 1, self.spoil_share) > before;
        spoiled_here.then(|| LOGIN_FAULTS[before % LOGIN_FAULTS.len()])
    }
}

impl Iterator for Logins {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let (number, fault) = (self.number, self.fault_of(self.number));
        self.number += 1;
        let mut random = Random::of_row(self.seed, number);
        let user = format!("user-{:05}", random.below(USERS));
        let text = |value: &&str| format!("\"{value}\"");
        let mut fields = [
            ("user_id", text(&&*user)),
            ("app_version", text(random.any(APP_VERSIONS))),
            ("device_type", text(random.any(DEVICE_TYPES))),
            (
                "ip",
                format!("\"10.{}.{}.{}\"", random.below(256), random.below(256), random.below(256)),
            ),
            ("locale", text(random.any(LOCALES))),
            ("device_id", format!("\"{:08x}\"", random.below(1 << 32))),
            ("timestamp", (FIRST + number).to_string()),
        ];
        let time = &mut fields[6].1;
        match fault {
            Some(LoginFault::WrongType) => "7".clone_into(&mut fields[2].1),
            Some(LoginFault::Null) => "null".clone_into(&mut fields[4].1),
            Some(LoginFault::TimestampText) => *time = format!("\"{time}\""),
            Some(LoginFault::TimestampMilliseconds) => *time += "000",
            Some(LoginFault::TimestampNegative) => time.insert(0, '-'),
            _ => {}
        }
        let missing = match fault {
            Some(LoginFault::DeviceTypeMissing) => "device_type",
            Some(LoginFault::UserMissing) => "user_id",
            Some(LoginFault::TimestampMissing) => "timestamp",
            _ => "",
        };
        let mut value = String::with_capacity(200);
        for (name, json) in fields.iter().filter(|(name, _)| *name != missing) {
            let before = if value.is_empty() { '{' } else { ',' };
            let _never_fails = write!(value, "{before}\"{name}\":{json}");
        }
        value.push('}');
        match fault {
            Some(LoginFault::NotJson) => value.truncate(value.len() / 2),
            Some(LoginFault::Empty) => value.clear(),
            _ => {}
        }
        Some(Raw { key: Some(user.into()), payload: Some(Bytes::from(value)), ..Raw::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_logins() {
        let logins = |seed| Logins::new(seed, 0.1).take(50).collect::<Vec<_>>();
        assert_eq!(logins(1), logins(1));
        assert_ne!(logins(1), logins(2));
        let first = Logins::new(42, 0.0).next().unwrap();
        let value = r#"{"user_id":"user-06281","app_version":"2.3.0","device_type":"android","ip":"10.14.167.195","locale":"ja-JP","device_id":"a3926552","timestamp":1767225600}"#;
        assert_eq!(first.payload.as_deref(), Some(value.as_bytes()));
    }

    #[test]
    fn the_share_of_spoiled_logins_is_exact_and_each_fault_is_there() {
        let logins = Logins::new(1, 0.05);
        let faults: Vec<_> = (0..1_000).filter_map(|number| logins.fault_of(number)).collect();
        assert_eq!(faults.len(), 50);
        assert!(LOGIN_FAULTS.iter().all(|fault| faults.contains(fault)));
        let missing = faults.iter().filter(|fault| **fault == LoginFault::DeviceTypeMissing);
        assert!(missing.count() >= 15);
    }
}
