//! A TCP proxy that breaks connections on purpose: refused, silent, or cut at an exact byte of the conversation.
//!
//! A client speaks to [`Proxy::addr`] instead of the service. [`Proxy::start`] forwards bytes as they come;
//! [`Proxy::start_postgres`] knows where Postgres' messages end, so that it can cut a connection right before COMMIT
//! reaches the server, or after the server has committed and before the client hears of it.

mod connection;
mod pooler;
mod postgres;
mod rule;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::background::RUNTIME;
pub use pooler::TransactionPooler;
use rule::{Rule, When};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass,
    /// Nobody listens; those that stood are cut.
    Refuse,
    /// Accepts and closes at once; those that stood are cut.
    Close,
    /// Accepts, and forwards nothing on any connection until the mode changes; nothing is lost, as on a real network.
    Blackhole,
}

/// Lives on a runtime of its own, until dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    task: AbortHandle,
}

struct Shared {
    target: SocketAddr,
    postgres: bool,
    mode: watch::Sender<Mode>,
    rule: Mutex<Option<Rule>>,
    accepted: AtomicU64,
    fired: watch::Sender<u64>,
}

#[derive(Debug)]
enum Order {
    Mode(Mode, oneshot::Sender<()>),
    Sever(oneshot::Sender<()>),
}

impl Proxy {
    /// On a free port of 127.0.0.1, to a service of any kind.
    pub async fn start(target: SocketAddr) -> Self {
        Self::launch(target, false).await
    }

    /// The same for Postgres without TLS: a client that prefers TLS is told that there is none.
    pub async fn start_postgres(target: SocketAddr) -> Self {
        Self::launch(target, true).await
    }

    async fn launch(target: SocketAddr, postgres: bool) -> Self {
        let shared = Arc::new(Shared {
            target,
            postgres,
            mode: watch::Sender::new(Mode::Pass),
            rule: Mutex::new(None),
            accepted: AtomicU64::new(0),
            fired: watch::Sender::new(0),
        });
        let (orders, inbox) = mpsc::unbounded_channel();
        let (listening, addr) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let task = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let _ = listening.send(listener.local_addr().expect("an address"));
            serve(&serving, listener, inbox).await;
        });
        Self {
            addr: addr.await.expect("the proxy listens"),
            shared,
            orders,
            task: task.abort_handle(),
        }
    }

    /// Where clients connect; it never changes.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// In force when this returns.
    pub async fn set_mode(&self, mode: Mode) {
        self.order(|done| Order::Mode(mode, done)).await;
    }

    /// Cuts the connections there are, whatever the mode; gone when this returns.
    pub async fn sever(&self) {
        self.order(Order::Sever).await;
    }

    /// At the `nth` COMMIT from now (1 is the next) its connection is cut before the server gets it.
    pub fn cut_on_commit_request(&self, nth: u64) {
        self.arm(When::BeforeRequest, nth);
    }

    /// At the `nth` COMMIT from now (1 is the next) its connection is cut when the server has answered it, before the
    /// client gets the answer.
    pub fn cut_on_commit_answer(&self, nth: u64) {
        self.arm(When::BeforeAnswer, nth);
    }

    /// How often a connection was cut by one of the `cut_on_` methods; each call of one cuts once.
    pub fn fired(&self) -> u64 {
        *self.shared.fired.borrow()
    }

    /// Returns once [`fired`](Self::fired) is at least `count`.
    pub async fn until_fired(&self, count: u64) {
        let _ = self.shared.fired.subscribe().wait_for(|&fired| fired >= count).await;
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn arm(&self, when: When, nth: u64) {
        assert!(nth > 0, "the next one is number 1");
        assert!(self.shared.postgres, "commits need Proxy::start_postgres");
        *self.shared.rule.lock().unwrap() = Some(Rule { when, left: nth });
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, carried_out) = oneshot::channel();
        self.orders.send(order(done)).expect("the proxy runs");
        carried_out.await.expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    shared: &Arc<Shared>,
    listener: TcpListener,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let addr = listener.local_addr().expect("an address");
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return,
                Some(Order::Sever(done)) => {
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Order::Mode(mode, done)) => {
                    shared.mode.send_replace(mode);
                    if mode == Mode::Refuse {
                        listener = None;
                    } else if listener.is_none() {
                        listener = Some(TcpListener::bind(addr).await.expect("the same port again"));
                    }
                    if matches!(mode, Mode::Refuse | Mode::Close) {
                        connections.shutdown().await;
                    }
                    let _ = done.send(());
                }
            },
            client = accept(listener.as_ref()), if listener.is_some() => {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                if *shared.mode.borrow() != Mode::Close {
                    connections.spawn(connection::forward(client, Arc::clone(shared)));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let listener = listener.expect("polled only while it listens");
    listener.accept().await.expect("a connection").0
}
