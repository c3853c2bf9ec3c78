//! Claims: a model gives each new one a score and a decision; withdrawn ones are not shown to it.

use std::slice;

use tally_domain::{
    AnswerField, Column, Decimal, Flow, Incoming, Kind, ModelApi, Reason, Record, Table,
    TableColumn, Type, Value, Version,
};

use crate::{TEXT, incomplete, integer, keyed, text};

pub(crate) const POSTGRES: &[&str] = &["
    create table claims (
        number bigint primary key, claimant text not null, amount numeric(12, 2) not null,
        score numeric(5, 4), decision text,
        origin bigint not null, position bigint not null
    )"];

pub(crate) const SQLITE: &[&str] = &["
    create table claims (
        number integer not null primary key, claimant text not null, amount text not null,
        score text, decision text,
        origin integer not null, position integer not null
    ) strict"];

const COLUMNS: &[Column] = &[
    Column::new("number", Kind::Text),
    Column::new("claimant", Kind::Text),
    Column::new("amount", Kind::Text),
    Column::new("is_withdrawn", Kind::Boolean),
];

#[derive(Debug)]
pub(crate) struct Claims {
    table: Table,
    model: ModelApi,
}

impl Default for Claims {
    fn default() -> Self {
        let (amount, score) =
            (Type::Decimal { precision: 12, scale: 2 }, Type::Decimal { precision: 5, scale: 4 });
        let columns = vec![
            TableColumn::new("number", Type::Integer),
            TableColumn::new("claimant", TEXT),
            TableColumn::new("amount", amount),
            TableColumn::answered("score", score, 0),
            TableColumn::answered("decision", TEXT, 1),
        ];
        Self {
            table: keyed("claims", &[0], Version::LastWrite, false, columns),
            model: ModelApi {
                path: "assess".into(),
                table: 0,
                request: vec![0, 1, 2],
                id: 0,
                answer_id: "number".into(),
                answers: vec![
                    AnswerField { name: "score".into(), kind: score },
                    AnswerField { name: "decision".into(), kind: TEXT },
                ],
            },
        }
    }
}

impl Flow for Claims {
    fn name(&self) -> &'static str {
        "claims"
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn tables(&self) -> &[Table] {
        slice::from_ref(&self.table)
    }

    fn model(&self) -> Option<&ModelApi> {
        Some(&self.model)
    }

    fn read(&self, incoming: Incoming<'_>) -> Result<Record, Reason> {
        let fields = &incoming.fields;
        let text = |index: usize| text(fields.get(index));
        let number = integer(fields.first()).ok_or_else(|| incomplete("number"))?;
        let claimant = text(1).ok_or_else(|| incomplete("claimant"))?;
        let amount = text(2).and_then(|text| Decimal::parse(&text, 12, 2));
        let amount = amount.ok_or_else(|| incomplete("amount"))?;
        let values = vec![
            Value::Integer(number),
            Value::Text(claimant.into()),
            Value::Decimal(amount),
            Value::Null,
            Value::Null,
        ];
        let is_asked = crate::boolean(fields.get(3)) != Some(true);
        Ok(Record { is_asked, ..Record::upsert(0, values) })
    }
}
