use std::collections::VecDeque;
use std::sync::Mutex as SyncMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;

use super::*;

type Answers = SyncMutex<VecDeque<Result<u32, Fault>>>;

fn gate(max_outage: Option<Duration>) -> (Arc<Status>, Gate) {
    let status = Arc::new(Status::default());
    (Arc::clone(&status), Gate::new("model", "enrich", max_outage, status))
}

fn scripted(answers: impl IntoIterator<Item = Result<u32, Fault>>) -> Answers {
    SyncMutex::new(answers.into_iter().collect())
}

fn next(answers: &Answers) -> impl Future<Output = Result<u32, Fault>> {
    std::future::ready(answers.lock().unwrap().pop_front().unwrap())
}

fn away(seconds: Option<u64>) -> Result<u32, Fault> {
    Err(Fault::Outage { message: "503".into(), retry_after: seconds.map(Duration::from_secs) })
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for_with_doubling_pauses() {
    let (status, gate) = gate(None);
    let answers = scripted([away(None), away(None), away(None), Ok(7)]);
    let began = Instant::now();
    assert_eq!(gate.pass(|| next(&answers)).await, Ok(7));
    let waited = began.elapsed().as_secs_f64();
    // 0.5 + 1 + 2 seconds, each lengthened by up to itself.
    assert!((3.5..=7.1).contains(&waited), "{waited}");
    assert!(status.has_no_outage_of("model"));
}

#[tokio::test(start_paused = true)]
async fn retry_after_replaces_the_next_pause() {
    let (_, gate) = gate(None);
    let answers = scripted([away(Some(120)), Ok(7)]);
    let began = Instant::now();
    assert_eq!(gate.pass(|| next(&answers)).await, Ok(7));
    assert_eq!(began.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn pauses_never_grow_beyond_ten_seconds() {
    let (_, gate) = gate(None);
    let answers = scripted((0..40).map(|_| away(None)).chain([Ok(7)]));
    let began = Instant::now();
    gate.pass(|| next(&answers)).await.unwrap();
    let waited = began.elapsed().as_secs();
    assert!((350..=400).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_the_longest_outage() {
    let (status, gate) = gate(Some(Duration::from_mins(1)));
    let began = Instant::now();
    let stop = gate.pass(|| async { away(None) }).await.unwrap_err();
    assert_eq!((stop.kind, began.elapsed().as_secs()), (StopKind::Unavailable, 60));
    assert_eq!(stop.message, "model stayed unavailable for 60 s: 503");
    assert!(!status.has_no_outage_of("model"));
}

#[tokio::test(start_paused = true)]
async fn each_answer_starts_the_longest_outage_and_the_pauses_anew() {
    let (_, gate) = gate(Some(Duration::from_secs(8)));
    let began = Instant::now();
    for _ in 0..5 {
        let answers = scripted([away(None), away(None), away(None), Ok(7)]);
        assert_eq!(gate.pass(|| next(&answers)).await, Ok(7));
    }
    let waited = began.elapsed().as_secs_f64();
    assert!((17.5..=35.1).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_call_in_flight_starts_the_longest_outage_anew() {
    let (status, gate) = gate(Some(Duration::from_mins(1)));
    let began = Instant::now();
    let in_flight = gate.pass(|| async {
        sleep(Duration::from_secs(40)).await;
        Ok(7)
    });
    let looking = async {
        sleep(Duration::from_secs(45)).await;
        status.has_no_outage_of("model")
    };
    let failing = gate.pass(|| async { away(None) });
    let (answer, stop, is_open) = tokio::join!(in_flight, failing, looking);
    assert_eq!((answer, is_open), (Ok(7), false));
    let stop = stop.unwrap_err();
    assert_eq!((stop.kind, began.elapsed().as_secs()), (StopKind::Unavailable, 100));
    assert_eq!(stop.message, "model stayed unavailable for 60 s: 503");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_nobody_waits_for_is_forgotten() {
    let (status, gate) = gate(Some(Duration::from_mins(1)));
    let pass = || timeout(Duration::from_secs(40), gate.pass(|| async { away(None) }));
    let (one, other) = (pass(), gate.pass(|| async { away(None) }));
    let (one, other) = tokio::join!(one, timeout(Duration::from_secs(50), other));
    assert!(one.is_err() && other.is_err());
    assert!(status.has_no_outage_of("model"), "nobody probes");

    let began = Instant::now();
    assert!(pass().await.is_err());
    assert_eq!(began.elapsed().as_secs(), 40, "a new outage, not the end of an old one");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_others_wait_for_goes_on() {
    let (status, gate) = gate(None);
    let given_up = timeout(Duration::from_secs(40), gate.pass(|| async { away(None) }));
    let waiting = timeout(Duration::from_secs(50), gate.pass(|| async { away(None) }));
    let looking = async {
        sleep(Duration::from_secs(45)).await;
        status.has_no_outage_of("model")
    };
    let (_, _, is_open) = tokio::join!(given_up, waiting, looking);
    assert!(!is_open);
}

/// Notes when something is said at warn level.
struct Heard(Arc<SyncMutex<Vec<Instant>>>);

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(Instant::now());
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_said_at_once_and_every_ten_seconds() {
    let heard = Arc::new(SyncMutex::new(Vec::new()));
    let _guard = tracing::subscriber::set_default(Heard(Arc::clone(&heard)));
    let (_, gate) = gate(Some(Duration::from_secs(35)));
    let began = Instant::now();
    gate.pass(|| async { away(None) }).await.unwrap_err();
    let seconds: Vec<u64> =
        heard.lock().unwrap().iter().map(|at| (*at - began).as_secs()).collect();
    assert_eq!(seconds, [0, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_passes_through_at_once() {
    let (_, gate) = gate(None);
    let answers = scripted([Err(Fault::stop(StopKind::Setting, "wrong"))]);
    assert_eq!(gate.pass(|| next(&answers)).await.unwrap_err().kind, StopKind::Setting);
}

#[tokio::test(start_paused = true)]
async fn one_call_at_a_time_probes_and_all_go_on_when_it_succeeds() {
    let (_, gate) = gate(None);
    let gate = Arc::new(gate);
    let [calls, at_once, most_at_once] = [const { AtomicUsize::new(0) }; 3].map(Arc::new);
    let back_at = Instant::now() + Duration::from_secs(30);
    let worker = |_| {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        let (at_once, most_at_once) = (Arc::clone(&at_once), Arc::clone(&most_at_once));
        tokio::spawn(async move {
            let mut probes = 0; // the first call meets the outage, those after it probe
            let mut call = || {
                let probe = std::mem::replace(&mut probes, 1);
                let [calls, at_once, most_at_once] = [&calls, &at_once, &most_at_once];
                async move {
                    calls.fetch_add(1, Ordering::SeqCst);
                    let is_back = Instant::now() >= back_at;
                    let probe = if is_back { 0 } else { probe };
                    let now = at_once.fetch_add(probe, Ordering::SeqCst) + probe;
                    most_at_once.fetch_max(now, Ordering::SeqCst);
                    sleep(Duration::from_millis(100)).await;
                    at_once.fetch_sub(probe, Ordering::SeqCst);
                    if is_back { Ok(1) } else { away(None) }
                }
            };
            assert_eq!(gate.pass(&mut call).await, Ok(1));
            Instant::now()
        })
    };
    let workers: Vec<_> = (0..8).map(worker).collect();
    let mut went_on = Vec::new();
    for worker in workers {
        went_on.push(worker.await.unwrap());
    }
    went_on.sort();
    assert!(went_on[7] - went_on[0] < Duration::from_millis(300), "{went_on:?}");
    assert_eq!(most_at_once.load(Ordering::SeqCst), 1);
    // Eight calls meet the outage, a handful of probes follow, eight calls succeed.
    assert!(calls.load(Ordering::SeqCst) < 8 + 12 + 8, "{calls:?}");
}
