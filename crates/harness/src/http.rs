//! An HTTP server whose every answer a test scripts.

mod reply;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Response};
use futures_util::StreamExt;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

pub use reply::Reply;

use crate::background::RUNTIME;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// The method.
    pub method: Method,
    /// The path, with the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Answers on 127.0.0.1 as its script says; lives on a runtime of its own, until dropped.
pub struct ScriptedServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    script: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
    requests: Mutex<Vec<Request>>,
    count: watch::Sender<usize>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl ScriptedServer {
    /// On a free port.
    pub async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        });
        let (listening, addr) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let task = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let _ = listening.send(listener.local_addr().expect("an address"));
            serve(&serving, &listener).await;
        });
        Self { addr: addr.await.expect("the server listens"), shared, task: task.abort_handle() }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All that came, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Returns once `count` requests have come.
    pub async fn until_requests(&self, count: usize) {
        let _ = self.shared.count.subscribe().wait_for(|&came| came >= count).await;
    }

    /// The greatest number of requests that were being answered at one time. One whose client goes away is no longer.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a connection");
                connections.spawn(converse(client, Arc::clone(shared)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn converse(client: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    // It ends in an error where the script resets it or the client goes away.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
}

/// The connection closes without an answer where this is an error.
async fn answer(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, axum::Error> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await?;
    let in_flight = InFlight::enter(&shared);
    let path = head.uri.path_and_query().map_or("*", |path| path.as_str()).to_owned();
    let request = shared.record(Request {
        number: 0,
        method: head.method,
        path,
        headers: head.headers,
        body,
    });
    let reply = (shared.script)(&request);
    reply.ready().await;
    if reply.is_reset() {
        return Err(axum::Error::new("reset by the script"));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = match reply.drip {
        None => Body::from(reply.body),
        Some(pause) => {
            response = response.header("content-length", reply.body.len());
            drip(reply.body, pause, in_flight)
        }
    };
    Ok(response.body(body).expect("fit headers in the script"))
}

/// One byte, a pause, the next.
fn drip(body: Bytes, pause: std::time::Duration, in_flight: InFlight) -> Body {
    let bytes = stream::unfold((body, in_flight), move |(mut body, in_flight)| async move {
        if body.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((body.split_to(1), (body, in_flight)))
    });
    Body::from_stream(bytes.map(Ok::<_, Infallible>))
}

impl Shared {
    fn record(&self, mut request: Request) -> Request {
        let mut requests = self.requests.lock().unwrap();
        request.number = requests.len();
        requests.push(request.clone());
        self.count.send_replace(requests.len());
        request
    }
}

/// A request that is being answered.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn enter(shared: &Arc<Shared>) -> Self {
        let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
