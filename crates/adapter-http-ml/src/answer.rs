//! What an answer of the model says of each record.

mod item;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;
use tally_domain::{ModelApi, Type, Value};
use tally_ports::Answer;

use self::item::{Item, Repeated};

/// What the model says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// No fit item names the record.
    Nothing,
    /// It names the record, but with nothing, an unusable value, or two different ones.
    Unusable,
    /// One answer.
    Answer(Answer),
}

/// What `body` says of each of the records `asked` for, in their order; it names at least one of them. Items that are
/// not fit are ignored, and so are ids that were not asked for.
///
/// `asked` holds no id twice. `id_kind` is what the ids are.
pub(crate) fn read(
    body: &[u8],
    asked: &[&Value],
    api: &ModelApi,
    id_kind: Type,
) -> Result<Vec<Reply>, Unfit> {
    let text = str::from_utf8(body).map_err(|_| Unfit::NotJson)?;
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Unfit::NoList,
            _ => Unfit::NotJson,
        })?;

    let mut places = AskedIds::new(asked);
    let mut mentions = vec![Mentions::Nothing; asked.len()];
    let mut otherwise = if items.is_empty() { Unfit::NamesNone } else { Unfit::NoFitItem };
    let mut repeated = Repeated::default();
    for item in items {
        let fit = Item::fit(item, api, id_kind, &mut repeated);
        let Some(Item { id, answer }) = fit else { continue };
        otherwise = Unfit::NamesNone;
        let Some(place) = id.and_then(|id| places.find(&id)) else { continue };
        match &mentions[place] {
            Mentions::Nothing => mentions[place] = Mentions::Once(answer),
            Mentions::Once(earlier) if *earlier != answer => {
                mentions[place] = Mentions::Contradiction;
            }
            Mentions::Once(_) | Mentions::Contradiction => {}
        }
    }
    if mentions.iter().all(|mentions| matches!(mentions, Mentions::Nothing)) {
        return Err(otherwise);
    }
    Ok(mentions.into_iter().map(Mentions::conclude).collect())
}

/// Why an answer is not fit. Its text holds nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The answer is not JSON, or ends too early.
    NotJson,
    /// It is JSON, but no list.
    NoList,
    /// It is a list of items of which not one is fit.
    NoFitItem,
    /// No fit item names a record that was asked for.
    NamesNone,
}

impl Unfit {
    /// For people, with the fields that an item has by `api`.
    pub(crate) fn told(self, api: &ModelApi) -> String {
        match self {
            Self::NotJson => "the answer is not JSON".to_owned(),
            Self::NoList | Self::NoFitItem => {
                let (id, fields) = (&api.answer_id, Names(api));
                format!("the answer is not a list of objects with the fields {id} and {fields}")
            }
            Self::NamesNone => "the answer covers none of the records asked for".to_owned(),
        }
    }
}

/// The names of an answer's fields, for people.
pub(crate) struct Names<'a>(pub(crate) &'a ModelApi);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.answers.iter().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            f.write_str(&field.name)?;
        }
        Ok(())
    }
}

/// What was said of one record so far.
#[derive(Clone)]
enum Mentions {
    Nothing,
    Once(Option<Answer>),
    Contradiction,
}

impl Mentions {
    fn conclude(self) -> Reply {
        match self {
            Self::Nothing => Reply::Nothing,
            Self::Once(Some(answer)) => Reply::Answer(answer),
            Self::Once(None) | Self::Contradiction => Reply::Unusable,
        }
    }
}

/// The ids that were asked about; one is found at once as long as they are answered in that order.
struct AskedIds<'a> {
    asked: &'a [&'a Value],
    next: usize,
    /// Made when an id first comes out of order.
    by_id: Option<HashMap<&'a Value, usize>>,
}

impl<'a> AskedIds<'a> {
    fn new(asked: &'a [&'a Value]) -> Self {
        Self { asked, next: 0, by_id: None }
    }

    fn find(&mut self, id: &Value) -> Option<usize> {
        let place = if self.asked.get(self.next) == Some(&id) {
            self.next
        } else {
            let numbered =
                || self.asked.iter().enumerate().map(|(place, &id)| (id, place)).collect();
            *self.by_id.get_or_insert_with(numbered).get(id)?
        };
        self.next = place + 1;
        Some(place)
    }
}
