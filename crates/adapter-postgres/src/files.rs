//! Files that are found at a place.

use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamp};
use diesel::{OptionalExtension, sql_query};
use diesel_async::RunQueryDsl;
use tally_ports::{Fault, FoundFile, FoundFiles};
use tally_queries::files::{AttemptsRow, FileRow, found, note};

use crate::Postgres;
use crate::connection::answer;

const AGE: &str = "extract(epoch from clock_timestamp() at time zone 'utc' - updated_at)";
const NOW: &str = "clock_timestamp() at time zone 'utc'";

impl FoundFiles for Postgres {
    async fn found_files(
        &self,
        flow: &str,
        place: &str,
        name: Option<&str>,
    ) -> Result<Vec<FoundFile>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, wait) = session.parts();
        let query = sql_query(found(AGE))
            .bind::<Text, _>(flow)
            .bind::<Text, _>(place)
            .bind::<Nullable<Text>, _>(name);
        let found: Vec<FileRow> = answer(wait, query.load(connection)).await?;
        session.keep();
        Ok(found.into_iter().map(FileRow::file).collect())
    }

    async fn note_file(
        &self,
        flow: &str,
        place: &str,
        file: &FoundFile,
    ) -> Result<Option<u32>, Fault> {
        let mut session = self.people.session().await?;
        let (connection, wait) = session.parts();
        let query = sql_query(note(NOW))
            .bind::<Text, _>(flow)
            .bind::<Text, _>(place)
            .bind::<Text, _>(&file.name)
            .bind::<Text, _>(&file.version)
            .bind::<BigInt, _>(file.size.cast_signed())
            .bind::<Timestamp, _>(file.modified)
            .bind::<Nullable<Text>, _>(&file.fingerprint)
            .bind::<Text, _>(file.state.as_str())
            .bind::<Nullable<Text>, _>(&file.message)
            .bind::<Integer, _>(file.attempts.cast_signed());
        let noted: Option<AttemptsRow> =
            answer(wait, async { query.get_result(connection).await.optional() }).await?;
        session.keep();
        Ok(noted.map(AttemptsRow::attempts))
    }
}
