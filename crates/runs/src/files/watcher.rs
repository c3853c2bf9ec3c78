//! A place that is watched: each file once by content.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use glob::Pattern;
use metrics::gauge;
use tally_adapter_csv::CsvFile;
use tally_ports::{
    Enrich, Fault, FileState, FoundFile, FoundFiles, Listed, Outbox, Place, Positions, Publish,
    Sink, Stop, StopKind, metric,
};
use tokio::time::{Instant, sleep};

use super::report::{FileReport, Report, State};
use super::run::OwnedByAnother;
use super::{Files, Watch};

/// What a marker adds to the name of the file that it says is complete.
const MARKER: &str = ".done";
/// A failed file is tried again after the shortest wait, doubled as often as this at most.
const DOUBLED: u32 = 6;

/// How a place is watched.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Which names are files to take; all are by default.
    pub pattern: Option<Pattern>,
    /// How long a file must be unchanged to be complete.
    pub settle: Duration,
    /// How often it is looked for files.
    pub poll: Duration,
    /// How long after its first failure a file is tried again; twice as long after each further one, up to 64 times.
    pub retry: Duration,
    /// Whether instead of [`Watching::settle`] a marker `NAME.done` says that a file is complete.
    pub done_marker: bool,
    /// The time of day, in UTC, by which a file is expected each day.
    pub expect_by: Option<NaiveTime>,
    /// How files are read.
    pub csv: tally_adapter_csv::Settings,
}

/// A place, and what is known of the files there.
struct Watched<'a, L> {
    place: &'a L,
    how: &'a Watching,
    /// Since when each file that is not complete yet is as it is.
    settling: HashMap<String, (String, Instant)>,
    /// By name and version.
    known: BTreeMap<(String, String), FoundFile>,
    /// Why it could not be looked at the last time.
    problem: Option<String>,
    /// The day for which it was said that a file is late.
    said_late: Option<NaiveDate>,
}

impl<E: Enrich, P: Publish, S: Sink + Positions + Outbox + FoundFiles> Files<E, P, S> {
    /// Takes each file that appears at `place` once by content, when it is complete, in order of modification, until a stop is
    /// requested. What becomes of each is in the store. A file that cannot be read to its end is tried again later; one that
    /// another process is reading is left to it.
    pub async fn watch<L: Place>(
        mut self,
        place: &L,
        how: &Watching,
        watch: &impl Watch,
    ) -> Report {
        let started = Instant::now();
        self.owned = OwnedByAnother::Left;
        let (settling, known) = Default::default();
        let (problem, said_late) = Default::default();
        let mut watched = Watched { place, how, settling, known, problem, said_late };
        let mut stopped = None;
        self.publish_left().await;
        tracing::info!("watching {place}");
        while !self.process.stop.is_cancelled() {
            if let Err(stop) = self.look(&mut watched, watch).await {
                watch.close();
                tracing::error!("{stop}");
                stopped = Some(stop.kind);
                break;
            }
            let _stopped = self.process.unless_stopped(sleep(how.poll)).await;
        }
        self.report(started.elapsed(), Vec::new(), stopped)
    }

    /// Takes what is complete by now.
    async fn look<L: Place>(
        &mut self,
        watched: &mut Watched<'_, L>,
        watch: &impl Watch,
    ) -> Result<(), Stop> {
        let Some(listed) = watched.list().await else { return Ok(()) };
        if !self.refresh(watched, None).await? {
            return Ok(());
        }
        let complete = watched.complete(listed);
        watched.show(self.flow.name());
        for file in complete {
            if self.process.stop.is_cancelled() {
                break;
            }
            self.take_found(watched, &file, watch).await?;
            watched.show(self.flow.name());
        }
        Ok(())
    }

    /// Learns what is known by now of all files, or of those of one name; whether it did before a stop was requested.
    async fn refresh<L: Place>(
        &self,
        watched: &mut Watched<'_, L>,
        name: Option<&str>,
    ) -> Result<bool, Stop> {
        let (flow, place) = (self.flow.name(), watched.place.to_string());
        let database = &self.process.gates.database;
        let asking = database.pass(|| self.store.found_files(flow, &place, name));
        let Some(known) = self.process.unless_stopped(asking).await else { return Ok(false) };
        if name.is_none() {
            watched.known.clear();
        }
        for file in known? {
            watched.known.insert((file.name.clone(), file.version.clone()), file);
        }
        Ok(true)
    }

    async fn take_found<L: Place>(
        &mut self,
        watched: &mut Watched<'_, L>,
        listed: &Listed,
        watch: &impl Watch,
    ) -> Result<(), Stop> {
        let path = watched.place.path_of(&listed.name);
        let shown = path.display();
        let mut file = found(listed);
        let content = match watched.place.open(listed).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(()),
            Err(problem) => return self.failed(watched, file, problem).await,
        };
        let opened = CsvFile::of(&path, content, &watched.how.csv, self.flow.columns()).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(stop) if stop.kind == StopKind::Setting => return Err(stop),
            Err(stop) => return self.failed(watched, file, stop.message).await,
        };
        let hashing = self.process.unless_stopped(opened.fingerprint());
        let Some(fingerprint) = hashing.await else { return Ok(()) };
        let fingerprint = match fingerprint.map_err(Fault::into_stop) {
            Ok(fingerprint) => fingerprint,
            Err(stop) => return self.failed(watched, file, stop.message).await,
        };
        if let Some(other) = watched.same(&file, &fingerprint) {
            let rejected =
                if other.state == FileState::Rejected { ", which was rejected" } else { "" };
            let message = format!("the same bytes as {}{rejected}", other.name);
            if other.name != file.name {
                tracing::info!("{shown} is skipped: {message}");
            }
            (file.state, file.message) = (FileState::Same, Some(message));
            file.fingerprint = Some(fingerprint);
            return self.note(watched, &mut file).await;
        }
        if watched.has_other_bytes(&file, &fingerprint) {
            tracing::warn!(
                "{shown} has other bytes than before under the same name: it is read as a new file"
            );
        }
        (file.state, file.attempts) = (FileState::Reading, 1);
        file.fingerprint = Some(fingerprint);
        self.note(watched, &mut file).await?;
        // Another watcher may have taken it meanwhile.
        if file.state != FileState::Reading {
            return Ok(());
        }
        let was_begun = file.attempts > 1;

        let (report, result) = self.take_one(&path, Ok(opened), watch).await;
        watch.close();
        let FileReport { state, read, dead_lettered, .. } = report;
        match (state, result) {
            (State::Done, _) => {
                tracing::info!("{shown}: done, {read} rows read, {dead_lettered} dead letters");
                file.state = FileState::Done;
            }
            // It was finished by whoever had begun it, and is not noted as that.
            (State::AlreadyDone, _) if was_begun => file.state = FileState::Done,
            (State::AlreadyDone, _) => {
                file.state = FileState::Same;
                file.message = Some("its bytes were read before, from elsewhere".to_owned());
            }
            (State::Rejected, result) => {
                file.state = FileState::Rejected;
                file.message = result.err().map(|stop| stop.message);
                if let Some(message) = &file.message {
                    tracing::error!("{message}");
                }
            }
            (State::Failed, Err(Stop { kind: StopKind::Data | StopKind::Input, message })) => {
                return self.failed(watched, file, message).await;
            }
            (State::Failed, Err(Stop { kind: StopKind::Taken, message })) => {
                tracing::debug!("left to another process: {message}");
                return Ok(());
            }
            (State::Failed, Err(stop)) => return Err(stop),
            // A stop was requested.
            (State::Failed, Ok(())) => return Ok(()),
        }
        file.attempts = 0;
        self.note(watched, &mut file).await
    }

    async fn failed<L: Place>(
        &self,
        watched: &mut Watched<'_, L>,
        mut file: FoundFile,
        problem: String,
    ) -> Result<(), Stop> {
        file.attempts = u32::from(file.state != FileState::Reading);
        (file.state, file.message) = (FileState::Failed, Some(problem));
        self.note(watched, &mut file).await?;
        let wait = humantime(watched.how.wait_after(file.attempts));
        let problem = file.message.unwrap_or_default();
        tracing::error!("{problem}; it is tried again in {wait}, or once it changes");
        Ok(())
    }

    /// Writes what became of a file, and learns how often it was begun; or what became of it before.
    async fn note<L: Place>(
        &self,
        watched: &mut Watched<'_, L>,
        file: &mut FoundFile,
    ) -> Result<(), Stop> {
        let (flow, place) = (self.flow.name(), watched.place.to_string());
        let noting = self.process.gates.database.pass(|| self.store.note_file(flow, &place, file));
        let Some(noted) = self.process.unless_stopped(noting).await else { return Ok(()) };
        let key = (file.name.clone(), file.version.clone());
        if let Some(attempts) = noted? {
            file.attempts = attempts;
            watched.known.insert(key, FoundFile { age: Duration::ZERO, ..file.clone() });
            return Ok(());
        }
        let name = file.name.clone();
        self.refresh(watched, Some(&name)).await?;
        if let Some(known) = watched.known.get(&key) {
            file.clone_from(known);
        }
        Ok(())
    }
}

/// One that nothing is known of.
fn found(listed: &Listed) -> FoundFile {
    let Listed { name, version, size, modified } = listed.clone();
    FoundFile {
        name,
        version,
        size,
        modified: modified.naive_utc(),
        fingerprint: None,
        state: FileState::Failed,
        message: None,
        attempts: 0,
        age: Duration::ZERO,
    }
}

impl Watching {
    /// Whether one that was begun before is begun again.
    fn is_due(&self, file: &FoundFile) -> bool {
        file.state != FileState::Failed || file.age >= self.wait_after(file.attempts)
    }

    /// How long after so many failures a file is tried again.
    fn wait_after(&self, attempts: u32) -> Duration {
        self.retry.saturating_mul(1 << attempts.saturating_sub(1).min(DOUBLED))
    }
}

/// In whole seconds, as people write it.
fn humantime(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

impl<L: Place> Watched<'_, L> {
    /// The files that are there, or nothing where it cannot be looked.
    async fn list(&mut self) -> Option<Vec<Listed>> {
        match self.place.list().await {
            Ok(listed) => {
                if self.problem.take().is_some() {
                    tracing::info!("{} can be looked at again", self.place);
                }
                Some(listed)
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!("{problem}; trying again");
                }
                self.problem = Some(problem);
                None
            }
        }
    }

    /// Those that are complete and due, in order of modification.
    fn complete(&mut self, mut listed: Vec<Listed>) -> Vec<Listed> {
        let names: Vec<String> = listed.iter().map(|file| file.name.clone()).collect();
        let is_marker = |name: &str| self.how.done_marker && name.ends_with(MARKER);
        let fits =
            |name: &str| self.how.pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        listed.retain(|file| fits(&file.name) && !is_marker(&file.name));
        listed.sort_unstable_by(|one, other| {
            (one.modified, &one.name).cmp(&(other.modified, &other.name))
        });
        let mut settling = HashMap::new();
        listed.retain(|file| {
            if let Some(known) = self.known.get(&(file.name.clone(), file.version.clone())) {
                return !known.state.is_final() && self.how.is_due(known);
            }
            let before =
                self.settling.remove(&file.name).filter(|(version, _)| *version == file.version);
            let since = before.map_or_else(Instant::now, |(_, since)| since);
            let is_complete = if self.how.done_marker {
                names.contains(&format!("{}{MARKER}", file.name))
            } else {
                since.elapsed() >= self.how.settle
            };
            settling.insert(file.name.clone(), (file.version.clone(), since));
            is_complete
        });
        self.settling = settling;
        listed
    }

    /// Another file with the same bytes that was read to its end.
    fn same(&self, file: &FoundFile, fingerprint: &str) -> Option<&FoundFile> {
        self.known.values().find(|other| {
            let is_other = (&other.name, &other.version) != (&file.name, &file.version);
            let is_read = matches!(other.state, FileState::Done | FileState::Rejected);
            is_other && is_read && other.fingerprint.as_deref() == Some(fingerprint)
        })
    }

    /// Whether a file of the same name had other bytes.
    fn has_other_bytes(&self, file: &FoundFile, fingerprint: &str) -> bool {
        self.known.values().any(|other| {
            let is_other = other.name == file.name && other.version != file.version;
            is_other && other.fingerprint.as_deref().is_some_and(|before| before != fingerprint)
        })
    }

    /// Shows on `/metrics` what became of the files, and says once a day that one is late.
    fn show(&mut self, flow: &str) {
        let place = self.place.to_string();
        let counts = FileState::ALL.map(|state| {
            (state.as_str(), self.known.values().filter(|file| file.state == state).count())
        });
        let waiting = self.settling.iter().filter(|(name, (version, _))| {
            !self.known.contains_key(&((*name).clone(), version.clone()))
        });
        for (state, count) in counts.into_iter().chain([("waiting", waiting.count())]) {
            let labels =
                [("flow", flow.to_owned()), ("place", place.clone()), ("state", state.to_owned())];
            gauge!(metric::FILES, &labels).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
        let labels = [("flow", flow.to_owned()), ("place", place.clone())];
        let done = self.known.values().filter(|file| file.state == FileState::Done);
        let newest = done.map(|file| file.age).min();
        if let Some(age) = newest {
            gauge!(metric::NEWEST_FILE_AGE, &labels).set(age.as_secs_f64());
        }
        let Some(expect_by) = self.how.expect_by else { return };
        let now = Utc::now();
        let is_late = is_late(now, expect_by, newest);
        gauge!(metric::FILES_LATE, &labels).set(if is_late { 1.0 } else { 0.0 });
        if is_late && self.said_late != Some(now.date_naive()) {
            self.said_late = Some(now.date_naive());
            tracing::warn!(
                "{place}: no new file was done today, and one is expected by {expect_by} UTC"
            );
        }
    }
}

/// Whether the time of the day has passed by which a file is expected, and none was done today, the newest so long ago.
fn is_late(now: DateTime<Utc>, expect_by: NaiveTime, newest: Option<Duration>) -> bool {
    let done = newest.and_then(|age| now.checked_sub_signed(chrono::Duration::from_std(age).ok()?));
    now.time() >= expect_by && done.is_none_or(|done| done.date_naive() < now.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_late_from_its_time_on_until_one_is_done_that_day() {
        let at = |time: &str| format!("2026-03-02T{time}Z").parse::<DateTime<Utc>>().unwrap();
        let by: NaiveTime = "07:00:00".parse().unwrap();
        let hours = |hours: u64| Some(Duration::from_hours(hours));
        assert!(!is_late(at("06:59:59"), by, None));
        assert!(is_late(at("07:00:00"), by, None));
        assert!(is_late(at("07:00:00"), by, hours(8)));
        assert!(!is_late(at("07:00:00"), by, hours(7)));
        assert!(!is_late(at("23:59:59"), by, hours(23)));
        assert!(is_late(at("23:59:59"), by, hours(24)));
    }
}
