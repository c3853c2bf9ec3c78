//! What a batch was asked and what was answered.

use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use tally_domain::{ModelApi, Reason, Stage, Value};
use tally_ports::{Answer, Answers};
use uuid::Uuid;

use crate::answer::{Names, Reply, Unfit};
use crate::connection::Said;
use crate::question::Questions;

/// A batch with more records than this is never refused as a whole: when not one of them gets a category, the model
/// is at fault.
const MOST_REFUSED_AS_A_WHOLE: usize = 10;
/// How often the model may fail on a list until it is split.
const ATTEMPTS: usize = 3;
/// Of the keys of questions.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f0b_8a4e_6c1d_5e0f_9b7a_3d52_c8e1_7a64);

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
    /// How often in a row the model has failed on what it was asked.
    failures: usize,
    /// Whether lists on which it fails are split.
    is_isolating: bool,
    /// Whether the next list is a record that was answered before: when the model answers it once more, it is the record
    /// after it that the model fails on.
    is_control: bool,
    /// How often what was answered was not believed, so that the same question is asked for another answer.
    disbelieved: u32,
}

/// What is asked in one request.
pub(crate) struct Question<'a> {
    /// The list of questions about the records, as JSON.
    pub(crate) body: Bytes,
    /// Their ids, each once.
    pub(crate) ids: Vec<&'a Value>,
    /// The same for the same question, also after a crash; another one once an answer to it was not believed.
    pub(crate) key: Uuid,
}

impl Inquiry {
    pub(crate) fn new(api: Arc<ModelApi>, questions: Questions) -> Self {
        let mut inquiry = Self {
            api,
            questions,
            verdicts: Vec::new(),
            waiting: Vec::new(),
            unfit: None,
            is_second_round: false,
            failures: 0,
            is_isolating: false,
            is_control: false,
            disbelieved: 0,
        };
        inquiry.begin();
        inquiry
    }

    /// The first request is next, and nothing is answered.
    fn begin(&mut self) {
        self.verdicts = vec![Verdict::Reply(Reply::Nothing); self.questions.count()];
        (self.is_second_round, self.is_isolating, self.failures) = (false, false, 0);
        self.wait(&self.questions.distinct());
    }

    fn wait(&mut self, records: &[usize]) {
        self.waiting = self.questions.lists(records);
        self.waiting.reverse();
    }

    /// What to ask next, about `most` records at most; `None` once all is answered.
    pub(crate) fn next(&mut self, most: usize) -> Option<Question<'_>> {
        let list = self.waiting.last_mut()?;
        if list.len() > most {
            let rest = list.split_off(most);
            let place = self.waiting.len() - 1;
            self.waiting.insert(place, rest);
        }
        let list = self.waiting.last()?;
        let body = self.questions.body(list);
        let namespace = Uuid::new_v5(&NAMESPACE, &self.disbelieved.to_be_bytes());
        Some(Question { key: Uuid::new_v5(&namespace, &body), body, ids: self.questions.ids(list) })
    }

    /// Notes what the model says to the next question; whether that is an answer. Of records that were refused before
    /// (`of_refused`) it may be nothing that they are all refused again.
    ///
    /// Errs with what is wrong when that is an outage.
    pub(crate) fn note(&mut self, said: Said, of_refused: bool) -> Result<bool, String> {
        let is_failure = matches!(said, Said::Failure);
        let has_answer = match said {
            Said::Failure => self.note_failure()?,
            _ if self.is_control => self.note_culprit(),
            Said::Answer(answer) => self.note_answer(answer),
            // Of a record alone it would be an outage for ever.
            Said::Nothing(unfit) if self.is_first_of_several() && !of_refused => {
                return Err(self.disbelieve(unfit.told(&self.api)));
            }
            Said::Nothing(unfit) => {
                self.unfit = Some(unfit);
                self.note_answer(Vec::new())
            }
            Said::Unreadable(why) => return Err(self.disbelieve(why)),
            Said::Refusal(status) => self.note_refusal(status),
        };
        if !is_failure {
            self.failures = 0;
        }
        self.end_round(of_refused)?;
        Ok(has_answer)
    }

    /// The next question is asked again, for another answer.
    fn disbelieve(&mut self, why: String) -> String {
        self.disbelieved += 1;
        why
    }

    /// Whether the next list has several records, none of which was asked about by itself or twice.
    fn is_first_of_several(&self) -> bool {
        !self.is_second_round && self.waiting.last().is_some_and(|list| list.len() > 1)
    }

    /// The replies for the records of the list, or none at all.
    fn note_answer(&mut self, replies: Vec<Reply>) -> bool {
        let list = self.waiting.pop().unwrap_or_default();
        let replies = replies.into_iter().chain(iter::repeat(Reply::Nothing));
        let mut has_answer = false;
        for (record, reply) in list.into_iter().zip(replies) {
            has_answer |= matches!(reply, Reply::Answer(_));
            self.verdicts[record] = Verdict::Reply(reply);
        }
        has_answer
    }

    fn note_refusal(&mut self, status: u16) -> bool {
        match &self.waiting.pop().unwrap_or_default()[..] {
            [record] => self.verdicts[*record] = Verdict::Refused(status),
            list => self.split(list),
        }
        false
    }

    fn split(&mut self, list: &[usize]) {
        let (first, second) = list.split_at(list.len() / 2);
        self.waiting.extend([second.to_vec(), first.to_vec()]);
    }

    /// The model fails on the next list. That is an outage, unless parts of the list can still be asked about, or a
    /// neighbour that was answered: when that one is answered again, the record is at fault and not the model.
    fn note_failure(&mut self) -> Result<bool, String> {
        const MESSAGE: &str = "answered 500";
        self.failures += 1;
        if self.is_control {
            self.end_control();
            return Err(MESSAGE.into());
        }
        if !self.is_isolating && self.failures < ATTEMPTS {
            return Err(MESSAGE.into());
        }
        if !self.is_isolating {
            (self.is_isolating, self.failures) = (true, 0);
        }
        let list = self.waiting.pop().unwrap_or_default();
        if list.len() > 1 {
            self.split(&list);
        } else if let Some(answered) = self.verdicts.iter().position(Verdict::is_answer) {
            self.waiting.extend([list, vec![answered]]);
            self.is_control = true;
            self.disbelieved += 1; // by its first key the model might know the answer
        } else {
            self.waiting.insert(0, list); // its neighbours first
            if self.failures >= self.waiting.len() {
                self.begin();
                return Err(format!("{MESSAGE} to each record"));
            }
        }
        Ok(false)
    }

    fn end_control(&mut self) {
        self.is_control = false;
        self.waiting.pop();
    }

    /// The neighbour was answered.
    fn note_culprit(&mut self) -> bool {
        self.end_control();
        for record in self.waiting.pop().unwrap_or_default() {
            self.verdicts[record] = Verdict::Failed;
        }
        true
    }

    /// Once all lists are answered: those without an answer are next, if this was the first round.
    ///
    /// Errs with what is wrong when the model is at fault, which it never is for records that it refused before
    /// (`of_refused`). Nothing that it said is believed then: the first request is next.
    fn end_round(&mut self, of_refused: bool) -> Result<(), String> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let mut unanswered =
            if self.is_second_round { Vec::new() } else { self.questions.distinct() };
        unanswered.retain(|&record| self.verdicts[record].is_no_answer());
        let fault = if unanswered.is_empty() { self.no_answer_at_all() } else { self.names_none() };
        if let Some(fault) = fault.filter(|_| !of_refused) {
            self.begin();
            return Err(self.disbelieve(fault));
        }
        self.is_second_round = true;
        self.disbelieved += 1;
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
    /// The model fails on it and answers for a neighbour.
    Failed,
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
            Self::Refused(status) => Some(*status),
            Self::Reply(_) | Self::Failed => None,
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
            Self::Failed => Err(Reason::new(
                Stage::Enrich,
                "model_failed",
                "the model answered 500 to the record alone, and answered for others".to_owned(),
            )),
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
