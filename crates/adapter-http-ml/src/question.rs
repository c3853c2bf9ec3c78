//! The questions to the model.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tally_domain::{Flow, ModelApi, Record, TableColumn, Value};
use tally_ports::{Stop, StopKind};

/// The questions about a batch's records, each as JSON. Records are named by their index in the batch.
pub(crate) struct Questions {
    ids: Vec<Value>,
    /// The list of all questions.
    json: Bytes,
    /// The range of each of them in it.
    ranges: Vec<Range<usize>>,
    /// For each record the first one with the same question: itself, unless it is a repetition.
    same_as: Vec<usize>,
    /// How many records of the same id with another question are before each.
    versions_before: Vec<usize>,
}

impl Questions {
    /// The questions about `records`, as `api` describes them.
    pub(crate) fn about(
        flow: &dyn Flow,
        api: &ModelApi,
        records: &[&Record],
    ) -> Result<Self, Stop> {
        let no_question = || Stop {
            kind: StopKind::Data,
            message: format!(
                "a record of {} cannot be shown to the model: its question is not JSON",
                flow.name()
            ),
        };
        let columns = flow.tables().get(api.table).map_or(&[][..], |table| &table.columns);
        let mut json = vec![b'['];
        let mut ranges = Vec::with_capacity(records.len());
        let mut ids = Vec::with_capacity(records.len());
        for record in records {
            let row = record.row(api.table).ok_or_else(no_question)?;
            if !ranges.is_empty() {
                json.push(b',');
            }
            let start = json.len();
            let question = Question { row, columns, request: &api.request };
            serde_json::to_writer(&mut json, &question).map_err(|_| no_question())?;
            ranges.push(start..json.len());
            ids.push(row.get(api.id).cloned().ok_or_else(no_question)?);
        }
        json.push(b']');

        let count = records.len();
        let (same_as, versions_before) = ((0..count).collect(), vec![0; count]);
        let mut questions = Self { ids, json: json.into(), ranges, same_as, versions_before };
        questions.find_repetitions();
        Ok(questions)
    }

    fn find_repetitions(&mut self) {
        let mut by_id: Vec<(&Value, usize)> = self.ids.iter().zip(0..).collect();
        by_id.sort_unstable();
        for group in
            by_id.chunk_by(|(id, _), (other, _)| id == other).filter(|group| group.len() > 1)
        {
            let mut first_with: HashMap<&[u8], usize> = HashMap::new();
            for &(_, index) in group {
                let version = first_with.len();
                let first =
                    *first_with.entry(&self.json[self.ranges[index].clone()]).or_insert(index);
                self.same_as[index] = first;
                self.versions_before[index] = version;
            }
        }
    }

    /// How many records the batch has.
    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }

    /// The record whose answer is also that of the record `index`: itself, or an earlier one that it repeats.
    pub(crate) fn answered_with(&self, index: usize) -> usize {
        self.same_as[index]
    }

    /// The records that repeat no other.
    pub(crate) fn distinct(&self) -> Vec<usize> {
        (0..self.ids.len()).filter(|&index| self.same_as[index] == index).collect()
    }

    /// The `records`, which repeat none of each other, in as few lists as hold no id twice.
    pub(crate) fn lists(&self, records: &[usize]) -> Vec<Vec<usize>> {
        let mut lists: Vec<Vec<usize>> = Vec::new();
        for &index in records {
            let list = self.versions_before[index];
            if lists.len() <= list {
                lists.resize_with(list + 1, Vec::new);
            }
            lists[list].push(index);
        }
        lists.retain(|list| !list.is_empty());
        lists
    }

    /// The ids of the `records`.
    pub(crate) fn ids(&self, records: &[usize]) -> Vec<&Value> {
        records.iter().map(|&index| &self.ids[index]).collect()
    }

    /// The list of questions about the `records`, as JSON.
    pub(crate) fn body(&self, records: &[usize]) -> Bytes {
        if records.len() == self.ids.len() {
            return self.json.clone();
        }
        let size: usize = records.iter().map(|&index| self.ranges[index].len() + 1).sum();
        let mut body = Vec::with_capacity(size + 1);
        for &index in records {
            body.push(if body.is_empty() { b'[' } else { b',' });
            body.extend_from_slice(&self.json[self.ranges[index].clone()]);
        }
        body.push(b']');
        body.into()
    }
}

/// The columns of a row that the model is shown, under their names.
struct Question<'a> {
    row: &'a [Value],
    columns: &'a [TableColumn],
    request: &'a [usize],
}

impl Serialize for Question<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.request.len()))?;
        for &index in self.request {
            let (column, value) = self
                .columns
                .get(index)
                .zip(self.row.get(index))
                .ok_or_else(|| serde::ser::Error::custom("a row lacks a column"))?;
            map.serialize_entry(&column.name, value)?;
        }
        map.end()
    }
}
