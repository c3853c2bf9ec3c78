//! The model, asked about batches.

use tally_domain::{Classified, Reason, Stage};
use tally_ports::{Enrich, Fault, Stop};

use crate::Settings;
use crate::answer::Said;
use crate::connection::{Connection, Heard};
use crate::question::Questions;

/// A batch with more records than this is never refused as a whole: when not one of them gets a category, the model
/// is at fault.
const MOST_REFUSED_AS_A_WHOLE: usize = 10;

/// The model over HTTP. Connections are kept and shared by all calls in flight. Its `Debug` shows no secrets.
#[derive(Debug)]
pub struct Model {
    connection: Connection,
    /// Whether a batch may be without any category.
    of_refused: bool,
}

impl Model {
    /// The model as `settings` say. Connects to nothing yet; errs with
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting) when they are wrong.
    ///
    /// TLS uses the process' default crypto provider, ring where none is installed, and the machine's certificates.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        Ok(Self { connection: Connection::new(settings)?, of_refused: false })
    }

    /// The same model for records that were refused before, as dead letters are: that it refuses all of a batch again,
    /// or answers for none of it, is then what became of the records, and no outage.
    #[must_use]
    pub fn of_refused(self) -> Self {
        Self { of_refused: true, ..self }
    }

    /// Asks about the `records`, which repeat none of each other, and notes in `verdicts` what is said of them.
    async fn ask(
        &self,
        questions: &Questions,
        records: &[usize],
        verdicts: &mut [Verdict],
    ) -> Result<(), Fault> {
        for list in questions.lists(records) {
            // A refused list is split in halves, so the later one waits here.
            let mut waiting = vec![list.as_slice()];
            while let Some(part) = waiting.pop() {
                match (self.connection.ask(questions.body(part), &questions.ids(part)).await?, part)
                {
                    (Heard::Answer(answer), _) => {
                        for (&record, said) in part.iter().zip(answer) {
                            verdicts[record] = Verdict::Said(said);
                        }
                    }
                    (Heard::Refusal(status), &[record]) => {
                        verdicts[record] = Verdict::Refused(status);
                    }
                    (Heard::Refusal(_), _) => {
                        let (first, second) = part.split_at(part.len() / 2);
                        waiting.push(second);
                        waiting.push(first);
                    }
                }
            }
        }
        Ok(())
    }
}

impl<F: Classified> Enrich<F> for Model {
    async fn enrich(&self, records: &[F::Record]) -> Result<Vec<Result<String, Reason>>, Fault> {
        let questions = Questions::about::<F>(records)?;
        let mut verdicts = vec![Verdict::Said(Said::Nothing); records.len()];

        let distinct = questions.distinct();
        self.ask(&questions, &distinct, &mut verdicts).await?;
        let mut unanswered = distinct;
        unanswered.retain(|&record| verdicts[record].is_no_answer());
        if !unanswered.is_empty() {
            if !self.of_refused && !verdicts.iter().any(Verdict::is_named) {
                return Err(self
                    .connection
                    .outage("the answer covers none of the records asked for"));
            }
            self.ask(&questions, &unanswered, &mut verdicts).await?;
        }

        let may_be_refused = self.of_refused || records.len() <= MOST_REFUSED_AS_A_WHOLE;
        if !may_be_refused && !verdicts.iter().any(Verdict::is_category) {
            let none = format!("no category for any of {} records", records.len());
            let what = match verdicts.iter().find_map(Verdict::refused_with) {
                Some(status) => format!("{none}: answered {status} to single records"),
                None => none,
            };
            return Err(self.connection.outage(&what));
        }
        let verdict_on = |record| verdicts[questions.answered_with(record)].clone().conclude();
        Ok((0..records.len()).map(verdict_on).collect())
    }
}

/// What became of one record.
#[derive(Clone, Debug)]
enum Verdict {
    /// In the last answer to a list that held it; nothing before the first.
    Said(Said),
    /// It was refused by itself, with this HTTP status.
    Refused(u16),
}

impl Verdict {
    fn is_no_answer(&self) -> bool {
        matches!(self, Self::Said(Said::Nothing | Said::NoCategory))
    }

    fn is_named(&self) -> bool {
        matches!(self, Self::Said(Said::NoCategory | Said::Category(_)))
    }

    fn is_category(&self) -> bool {
        matches!(self, Self::Said(Said::Category(_)))
    }

    fn refused_with(&self) -> Option<u16> {
        match self {
            Self::Said(_) => None,
            Self::Refused(status) => Some(*status),
        }
    }

    fn conclude(self) -> Result<String, Reason> {
        match self {
            Self::Said(Said::Category(category)) => Ok(category),
            Self::Said(Said::NoCategory) => {
                Err(no_answer("the model gave no usable category when asked twice"))
            }
            Self::Said(Said::Nothing) => {
                Err(no_answer("the model gave no answer when asked twice"))
            }
            Self::Refused(status) => Err(Reason::new(
                Stage::Enrich,
                "model_refused",
                format!("the model refused the record: it answered {status}"),
            )),
        }
    }
}

fn no_answer(message: &str) -> Reason {
    Reason::new(Stage::Enrich, "model_no_answer", message)
}
