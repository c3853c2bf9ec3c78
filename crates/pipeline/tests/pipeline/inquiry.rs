//! A model that answers a batch in many requests, with outages in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Bench, Scripted, category, good, id};
use tally_domain::Record;
use tally_pipeline::Ended;
use tally_ports::{Answers, Enrich, Fault, Stop, StopKind};
use tokio::time::Instant;

/// It answers about one record at a time, and is unavailable at every second call, the first one included.
#[derive(Default)]
struct Hesitant {
    /// How often it was asked about each record.
    asked: Arc<Mutex<BTreeMap<u128, usize>>>,
    /// How many answers it gives.
    most: Option<usize>,
}

struct Inquiry {
    waiting: Vec<Record>,
    answers: Answers,
}

impl Enrich for Hesitant {
    type Inquiry = Inquiry;

    fn begin(&self, records: &[&Record]) -> Result<Inquiry, Stop> {
        let waiting = records.iter().rev().map(|&record| record.clone()).collect();
        Ok(Inquiry { waiting, answers: Vec::new() })
    }

    async fn ask(&self, inquiry: &mut Inquiry) -> Result<Option<Answers>, Fault> {
        let mut asked = self.asked.lock().unwrap();
        let id = id(inquiry.waiting.last().unwrap());
        let times = asked.entry(id).or_default();
        *times += 1;
        if *times == 1 || self.most.is_some_and(|most| asked.len() > most) {
            return Err(Fault::outage("503"));
        }
        inquiry.waiting.pop();
        inquiry.answers.push(Ok(category("Food")));
        Ok(inquiry.waiting.is_empty().then(|| inquiry.answers.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_of_a_batch_keeps_its_answers_and_each_answer_ends_it() {
    let mut bench = Bench::new();
    bench.max_outage = Some(Duration::from_secs(3));
    let (model, began) = (Hesitant::default(), Instant::now());
    let asked = Arc::clone(&model.asked);

    let ended = bench.run(Scripted::new((0..40).map(good)), model).await;
    assert_eq!(ended, Ok(Ended::AtEnd { next: 40 }));
    assert_eq!((bench.totals.written, bench.totals.dead_lettered), (40, 0));
    assert!(asked.lock().unwrap().values().all(|&times| times == 2), "{asked:?}");
    assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_no_answer_ends_lasts_from_the_last_one() {
    let mut bench = Bench::new();
    bench.max_outage = Some(Duration::from_mins(1));
    bench.settings.ahead = 1;
    let model = Hesitant { most: Some(15), ..Hesitant::default() };

    let stop = bench.run(Scripted::new((0..40).map(good)), model).await.unwrap_err();
    assert_eq!(stop.kind, StopKind::Unavailable);
    assert_eq!(stop.message, "model stayed unavailable for 60 s: 503");
    assert_eq!(bench.ranges(), [(0, 9)]);
}
