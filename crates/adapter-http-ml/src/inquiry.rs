//! What a batch was asked and what was answered.

use std::sync::Arc;

use bytes::Bytes;
use tally_domain::{ModelApi, Reason, Stage, Value};
use tally_ports::{Answer, Answers};

use crate::answer::{Names, Reply, Unfit};
use crate::connection::Response;
use crate::question::Questions;

/// A batch with more records than this is never refused as a whole: when not one of them gets a category, the model
/// is at fault.
const MOST_REFUSED_AS_A_WHOLE: usize = 10;

/// One batch on its way through the model: what is still to be asked, and what was answered.
pub struct Inquiry {
    api: Arc<ModelApi>,
    questions: Questions,
    /// What became of each record so far.
    verdicts: Vec<Verdict>,
    /// The lists still to be asked about, the next one last.
    waiting: Vec<Vec<usize>>,
    /// Why the last answer that named none of its records did not.
    unfit: Option<Unfit>,
    /// Whether all were asked about, so that it is the turn of those without an answer.
    is_second_round: bool,
}

impl Inquiry {
    pub(crate) fn new(api: Arc<ModelApi>, questions: Questions) -> Self {
        let (verdicts, waiting) = (Vec::new(), Vec::new());
        let mut inquiry =
            Self { api, questions, verdicts, waiting, unfit: None, is_second_round: false };
        inquiry.begin();
        inquiry
    }

    /// The first request is next, and nothing is answered.
    fn begin(&mut self) {
        self.verdicts = vec![Verdict::Reply(Reply::Nothing); self.questions.count()];
        self.is_second_round = false;
        self.wait(&self.questions.distinct());
    }

    fn wait(&mut self, records: &[usize]) {
        self.waiting = self.questions.lists(records);
        self.waiting.reverse();
    }

    /// Whether the next list has several records, none of which was asked about by itself or twice: that an answer names
    /// none of them is then an outage. Of a record alone it would be one for ever.
    pub(crate) fn is_first_of_several(&self) -> bool {
        !self.is_second_round && self.waiting.last().is_some_and(|list| list.len() > 1)
    }

    /// The list to ask about next: its questions and their ids; `None` once all is answered.
    pub(crate) fn next(&self) -> Option<(Bytes, Vec<&Value>)> {
        let list = self.waiting.last()?;
        Some((self.questions.body(list), self.questions.ids(list)))
    }

    /// Notes what the model says of the next list; whether it gives an answer.
    pub(crate) fn note(&mut self, heard: Response) -> bool {
        let Some(mut list) = self.waiting.pop() else { return false };
        match heard {
            Response::Answer(answer) => {
                let is_answer = |said: &Reply| matches!(said, Reply::Answer(_));
                let has_answer = answer.iter().any(is_answer);
                for (record, said) in list.into_iter().zip(answer) {
                    self.verdicts[record] = Verdict::Reply(said);
                }
                return has_answer;
            }
            Response::Nothing(unfit) => {
                self.unfit = Some(unfit);
                for record in list {
                    self.verdicts[record] = Verdict::Reply(Reply::Nothing);
                }
            }
            Response::Refusal(status) => {
                if let [record] = list[..] {
                    self.verdicts[record] = Verdict::Refused(status);
                } else {
                    let second = list.split_off(list.len() / 2);
                    self.waiting.extend([second, list]);
                }
            }
        }
        false
    }

    /// Once all lists are answered: those without an answer are next, if this was the first round.
    ///
    /// Errs with what is wrong when the model is at fault, which it never is for records that it refused before
    /// (`of_refused`). Nothing that it said is believed then: the first request is next.
    pub(crate) fn end_round(&mut self, of_refused: bool) -> Result<(), String> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let mut unanswered =
            if self.is_second_round { Vec::new() } else { self.questions.distinct() };
        unanswered.retain(|&record| self.verdicts[record].is_no_answer());
        let fault = if unanswered.is_empty() { self.no_answer_at_all() } else { self.names_none() };
        if let Some(fault) = fault.filter(|_| !of_refused) {
            self.begin();
            return Err(fault);
        }
        self.is_second_round = true;
        self.wait(&unanswered);
        Ok(())
    }

    fn names_none(&self) -> Option<String> {
        let is_named = self.verdicts.iter().any(Verdict::is_named);
        self.unfit.filter(|_| !is_named).map(|unfit| unfit.told(&self.api))
    }

    fn no_answer_at_all(&self) -> Option<String> {
        let count = self.verdicts.len();
        if count <= MOST_REFUSED_AS_A_WHOLE || self.verdicts.iter().any(Verdict::is_answer) {
            return None;
        }
        let none = format!("no {} for any of {count} records", Names(&self.api));
        Some(match self.verdicts.iter().find_map(Verdict::refused_with) {
            Some(status) => format!("{none}: answered {status} to single records"),
            None => none,
        })
    }

    /// For each record, in order, the answer or why there is none; `None` while there is more to ask.
    pub(crate) fn conclude(&self) -> Option<Answers> {
        let verdict_on = |record| {
            self.verdicts[self.questions.answered_with(record)].clone().conclude(&self.api)
        };
        self.waiting.is_empty().then(|| (0..self.verdicts.len()).map(verdict_on).collect())
    }
}

/// What became of one record.
#[derive(Clone, Debug)]
enum Verdict {
    /// In the last answer to a list that held it; nothing before the first.
    Reply(Reply),
    /// It was refused by itself, with this HTTP status.
    Refused(u16),
}

impl Verdict {
    fn is_no_answer(&self) -> bool {
        matches!(self, Self::Reply(Reply::Nothing | Reply::Unusable))
    }

    fn is_named(&self) -> bool {
        matches!(self, Self::Reply(Reply::Unusable | Reply::Answer(_)))
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::Reply(Reply::Answer(_)))
    }

    fn refused_with(&self) -> Option<u16> {
        match self {
            Self::Reply(_) => None,
            Self::Refused(status) => Some(*status),
        }
    }

    fn conclude(self, api: &ModelApi) -> Result<Answer, Reason> {
        match self {
            Self::Reply(Reply::Answer(answer)) => Ok(answer),
            Self::Reply(Reply::Unusable) => {
                Err(no_answer(&format!("the model gave no usable {} when asked twice", Names(api))))
            }
            Self::Reply(Reply::Nothing) => {
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
