//! Writes records row by row, by a function in the server.

use std::fmt::Write as _;

use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::{Value as Json, json};
use tally_domain::{Flow, Table, TableKind};
use tally_ports::{Origin, Refusal, Row, Verdict, Writes};
use uuid::Uuid;

use crate::query::{Bound, Dynamic, prepared};
use crate::table::{self, quoted};

/// What the function answers where something newer is; the indices of the writes that met it follow.
const SUPERSEDED: &str = "superseded";

/// `character_not_in_repertoire`: what Postgres says of U+0000 in a text, though of all texts at once.
const NUL_REFUSED: &str = "22021";

/// The function's parameters.
const TYPES: &str = "(jsonb, bigint, bigint, bigint, text, text, integer, bigint, boolean)";

/// Writes each record that the database does not refuse, and returns why it refuses the others; first deletes the rows that
/// an earlier pass over the positions from `first` to `last` appended.
pub(crate) async fn write(
    connection: &mut AsyncPgConnection,
    function: &Function,
    origin: &Origin<'_>,
    (first, last): (i64, i64),
    rows: &[Row],
    writes: &Writes<'_>,
) -> QueryResult<Vec<Verdict>> {
    let cleared = call(connection, function, origin, &[(None, first)], last, false).await?;
    if let [Some(_)] = &cleared[..] {
        // No row is at fault when earlier ones cannot be deleted.
        return Err(diesel::result::Error::RollbackTransaction);
    }
    carry_out(connection, function, origin, rows, writes, false).await
}

/// Carries out the writes of a dead letter's row, unless something newer is there.
pub(crate) async fn replay(
    connection: &mut AsyncPgConnection,
    function: &Function,
    origin: &Origin<'_>,
    row: &Row,
    writes: &Writes<'_>,
) -> QueryResult<Vec<Verdict>> {
    carry_out(connection, function, origin, std::slice::from_ref(row), writes, true).await
}

async fn carry_out(
    connection: &mut AsyncPgConnection,
    function: &Function,
    origin: &Origin<'_>,
    rows: &[Row],
    writes: &Writes<'_>,
    is_replay: bool,
) -> QueryResult<Vec<Verdict>> {
    let mut verdicts = vec![Verdict::DONE; rows.len()];
    let (mut fit, mut records) = (Vec::new(), Vec::new());
    for &index in writes.order() {
        if has_nul(&rows[index]) {
            verdicts[index] = Verdict::Refused(Refusal::new(NUL_REFUSED));
        } else {
            fit.push(index);
            records.push((Some(function.record(writes, index)), rows[index].position));
        }
    }
    let last = rows.last().map_or(0, |row| row.position);
    let answers = call(connection, function, origin, &records, last, is_replay).await?;
    for (index, answer) in fit.into_iter().zip(answers) {
        if let Some(answer) = answer {
            verdicts[index] = verdict(&answer);
        }
    }
    Ok(verdicts)
}

/// The function's answer for a record: that it met something newer, or why the database refuses it: the SQLSTATE and,
/// after a blank, the name of the constraint.
fn verdict(answer: &str) -> Verdict {
    if let Some(met) = answer.strip_prefix(SUPERSEDED) {
        let superseded = met.split_whitespace().filter_map(|index| index.parse().ok()).collect();
        return Verdict::Done { superseded };
    }
    Verdict::Refused(match answer.split_once(' ') {
        Some((code, name)) => Refusal { constraint: Some(name.to_owned()), ..Refusal::new(code) },
        None => Refusal::new(answer),
    })
}

fn has_nul(row: &Row) -> bool {
    let mut values = row.record.writes.iter().flat_map(|write| &write.values);
    values.any(|value| value.as_str().is_some_and(|text| text.contains('\0')))
}

/// Calls the function for each record, in order.
async fn call(
    connection: &mut AsyncPgConnection,
    function: &Function,
    origin: &Origin<'_>,
    records: &[(Option<String>, i64)],
    last: i64,
    is_replay: bool,
) -> QueryResult<Vec<Option<String>>> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Nullable<Text>)]
        answer: Option<String>,
    }
    let sql = format!(
        "select {}(u.record::jsonb, ?, u.position, ?, ?, ?, ?, ?, ?) as answer \
         from unnest(?, ?) as u(record, position)",
        function.name
    );
    let values = vec![
        Bound::BigInt(origin.id),
        Bound::BigInt(last),
        Bound::Text(origin.flow.name()),
        Bound::Text(origin.stream),
        Bound::Integer(origin.partition),
        Bound::BigInt(origin.log),
        Bound::Boolean(is_replay),
        Bound::Texts(records.iter().map(|(record, _)| record.as_deref()).collect()),
        Bound::BigInts(records.iter().map(|(_, position)| Some(*position)).collect()),
    ];
    let answers: Vec<Answer> = Dynamic::new(sql, values).load(connection).await?;
    if answers.len() != records.len() {
        return Err(diesel::result::Error::NotFound);
    }
    Ok(answers.into_iter().map(|answer| answer.answer).collect())
}

/// The function of a flow that writes one record: all of it or, where the database refuses a part, nothing.
pub(crate) struct Function {
    name: String,
    body: String,
    tables: Vec<String>,
}

impl Function {
    /// The function of `flow`.
    pub(crate) fn of(flow: &dyn Flow) -> Self {
        let body = body(flow.tables());
        // Named by its text: another version of a flow has another function.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, body.as_bytes());
        let tables = flow.tables().iter().map(|table| table.name.to_string()).collect();
        Self { name: format!("pg_temp.tally_write_{}", id.simple()), body, tables }
    }

    /// Creates the function if the session lacks it, and returns whether there is a constraint or an index of that name.
    pub(crate) async fn prepare(
        &self,
        connection: &mut AsyncPgConnection,
        constraint: Option<&str>,
    ) -> QueryResult<bool> {
        #[derive(QueryableByName)]
        struct ExistsRow {
            #[diesel(sql_type = Bool)]
            has_function: bool,
            #[diesel(sql_type = Bool)]
            has_constraint: bool,
        }
        let sql = "select to_regprocedure($1) is not null as has_function,
            exists (select from pg_constraint where conname = $2)
                or exists (select from pg_class where relname = $2 and relkind in ('i', 'I')) as has_constraint";
        let query = sql_query(sql)
            .bind::<Text, _>(format!("{}{TYPES}", self.name))
            .bind::<Nullable<Text>, _>(constraint);
        let found: ExistsRow = prepared(query).get_result(connection).await?;
        if !found.has_function {
            let Self { name, body, .. } = self;
            let create = format!(
                "create function {name}{TYPES} returns text language plpgsql as $tally${body}$tally$"
            );
            connection.batch_execute(&create).await?;
        }
        Ok(found.has_constraint)
    }

    /// The writes of the record at this index: a list of table, whether it is a delete, number and texts of the values.
    fn record(&self, writes: &Writes<'_>, index: usize) -> String {
        let record = writes.alone(index).map(|(table, row)| {
            let table = self.tables.iter().position(|name| *name == table.name);
            let texts: Vec<Option<String>> = row.values.iter().map(table::text).collect();
            json!([table, row.is_deleted, row.n, texts])
        });
        record.collect::<Json>().to_string()
    }
}

/// `$1` is the record, or null to only delete the rows that an earlier pass appended; then come origin, position, last
/// position, flow, stream, partition, log and whether it is a replay.
fn body(tables: &[Table]) -> String {
    let mut body = String::from(
        "
#variable_conflict use_column
<<own>>
declare
    item jsonb;
    number integer := -1;
    met text := '';
    target text;
    needed text[];
    is_left_out boolean := false;
    at_constraint text;
    at_table text;
    at_column text;
begin
    if $1 is null or $9 then",
    );
    for table in tables.iter().filter(|table| table.kind == TableKind::Appended) {
        let delete = table::clear(table, ["$5", "$6", "$7", "$8", "$3", "$4"]);
        aim(&mut body, table, "{select, delete}");
        let _ = write!(body, "\n        {delete};");
    }
    body += "
    end if;
    for item in select value from jsonb_array_elements($1) loop
        own.number := own.number + 1;";
    for (index, table) in tables.iter().enumerate() {
        let _ = write!(body, "\n        if (own.item ->> 0)::integer = {index} then");
        write_one(&mut body, table);
        body += "\n        end if;";
    }
    let _ = write!(
        body,
        "
    end loop;
    return '{SUPERSEDED}' || nullif(own.met, '');
exception
    when others then
        if own.is_left_out then
            return '02000'; -- no_data: a trigger left the row out
        end if;
        get stacked diagnostics
            at_constraint = constraint_name, at_table = table_name, at_column = column_name;
        return tally_refusal(
            sqlstate, own.at_constraint, own.at_table, own.at_column, own.target::regclass, own.needed);
end
"
    );
    body
}

/// Names the table that the next statement writes, and the privileges that it needs.
fn aim(body: &mut String, table: &Table, needed: &str) {
    let name = quoted(&table.name);
    let _ = write!(body, "\n        own.target := '{name}';\n        own.needed := '{needed}';");
}

fn write_one(body: &mut String, table: &Table) {
    let own = table.columns.iter().enumerate().map(|(index, column)| {
        let text = format!("own.item -> 3 ->> {index}");
        table::from_text(column.kind, &text)
    });
    let added = table::added(table).iter().map(|&name| {
        match name {
            "deleted_at" => "case when (own.item ->> 1)::boolean then clock_timestamp() end",
            "origin" => "$2",
            "position" => "$3",
            "flow" => "$5",
            "stream" => "$6",
            "partition" => "$7",
            "log" => "$8",
            _ => "(own.item ->> 2)::integer",
        }
        .to_owned()
    });
    let values: Vec<String> = own.chain(added).collect();
    let is_replay = Some("$9");
    let needed = match table.kind {
        TableKind::Appended => "{insert}",
        TableKind::Keyed { .. } | TableKind::Counters { .. } => "{select, insert, update}",
    };
    aim(body, table, needed);
    let (insert, conflict) = (table::insert(table), table::on_conflict(table, is_replay));
    let _ = write!(body, "\n        {insert} values ({}){conflict};", values.join(", "));
    *body += "\n        if not found then";
    if let Some(is_newer) = table::is_newer_there(table, is_replay) {
        let new: Vec<String> = values
            .iter()
            .zip(table::columns(table))
            .map(|(value, name)| format!("{value} as {name}"))
            .collect();
        let _ = write!(
            body,
            "
            perform 1 from (select {}) as new where {is_newer};
            if found then
                own.met := own.met || ' ' || own.number;
                continue;
            end if;",
            new.join(", ")
        );
    }
    *body += "
            own.is_left_out := true;
            raise exception using errcode = '02000';
        end if;";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_function_answers_is_understood() {
        assert_eq!(verdict("superseded 0 12"), Verdict::Done { superseded: vec![0, 12] });
        let named = Refusal { constraint: Some("odd name".into()), ..Refusal::new("23514") };
        assert_eq!(verdict("23514 odd name"), Verdict::Refused(named));
        assert_eq!(verdict("02000"), Verdict::Refused(Refusal::new("02000")));
    }
}
