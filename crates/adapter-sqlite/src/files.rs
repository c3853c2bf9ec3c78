//! Files that are found at a place.

use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamp};
use diesel::{OptionalExtension, RunQueryDsl, sql_query};
use tally_ports::{Fault, FoundFile, FoundFiles};
use tally_queries::files::{AttemptsRow, FileRow, found, note};

use crate::Sqlite;
use crate::atomic::transaction;

const AGE: &str = "(julianday('now') - julianday(updated_at)) * 86400";
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

impl FoundFiles for Sqlite {
    async fn found_files(
        &self,
        flow: &str,
        place: &str,
        name: Option<&str>,
    ) -> Result<Vec<FoundFile>, Fault> {
        let (flow, place, name) = (flow.to_owned(), place.to_owned(), name.map(str::to_owned));
        self.run(move |connection| {
            let query = sql_query(found(AGE))
                .bind::<Text, _>(flow)
                .bind::<Text, _>(place)
                .bind::<Nullable<Text>, _>(name);
            let found: Vec<FileRow> = query.load(connection)?;
            Ok(found.into_iter().map(FileRow::file).collect())
        })
        .await
    }

    async fn note_file(
        &self,
        flow: &str,
        place: &str,
        file: &FoundFile,
    ) -> Result<Option<u32>, Fault> {
        let (flow, place, file) = (flow.to_owned(), place.to_owned(), file.clone());
        self.run(move |connection| {
            transaction(connection, |connection| {
                let query = sql_query(note(NOW))
                    .bind::<Text, _>(&flow)
                    .bind::<Text, _>(&place)
                    .bind::<Text, _>(&file.name)
                    .bind::<Text, _>(&file.version)
                    .bind::<BigInt, _>(file.size.cast_signed())
                    .bind::<Timestamp, _>(file.modified)
                    .bind::<Nullable<Text>, _>(&file.fingerprint)
                    .bind::<Text, _>(file.state.as_str())
                    .bind::<Nullable<Text>, _>(&file.message)
                    .bind::<Integer, _>(file.attempts.cast_signed());
                let noted: Option<AttemptsRow> = query.get_result(connection).optional()?;
                Ok::<_, crate::Failure>(noted.map(AttemptsRow::attempts))
            })
        })
        .await
    }
}
