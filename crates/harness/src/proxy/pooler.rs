//! A pooler of Postgres connections in transaction mode.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::postgres::{Messages, startup};
use crate::background::RUNTIME;

/// Gives each transaction of its clients whichever session came back last, as `PgBouncer` does with `pool_mode = transaction`
/// and without `max_prepared_statements`. Lives on a runtime of its own, until dropped.
pub struct TransactionPooler {
    addr: SocketAddr,
    task: AbortHandle,
}

/// The sessions that no transaction holds.
type Idle = Arc<Mutex<Vec<TcpStream>>>;

impl TransactionPooler {
    /// On a free port of 127.0.0.1, to a Postgres without TLS.
    pub async fn start(target: SocketAddr) -> Self {
        let (listening, addr) = oneshot::channel();
        let task = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let _ = listening.send(listener.local_addr().expect("an address"));
            let (idle, mut clients) = (Idle::default(), JoinSet::new());
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let idle = Arc::clone(&idle);
                // How it ended is for the client to notice.
                clients.spawn(async move { drop(serve(client, target, &idle).await) });
            }
        });
        Self { addr: addr.await.expect("the pooler listens"), task: task.abort_handle() }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for TransactionPooler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The server checks each client's password in a session of its own, which then is anybody's.
async fn serve(mut client: TcpStream, target: SocketAddr, idle: &Idle) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    server.write_all(&startup(&mut client).await?).await?;
    relay(&mut client, &mut server, Waits::begun()).await?;
    idle.lock().unwrap().push(server);
    loop {
        client.readable().await?;
        if client.peek(&mut [0]).await? == 0 {
            return Ok(());
        }
        let server = idle.lock().unwrap().pop();
        // There are as many sessions as clients, and each client holds one at most.
        let mut server = server.expect("an idle session");
        relay(&mut client, &mut server, Waits::default()).await?;
        idle.lock().unwrap().push(server);
    }
}

/// Until the server is ready for another transaction.
async fn relay(client: &mut TcpStream, server: &mut TcpStream, mut waits: Waits) -> io::Result<()> {
    let (mut requests, mut answers) = (Messages::default(), Messages::default());
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    while !waits.is_over {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let read = read?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                for message in requests.push(&from_client[..read]) {
                    if message[0] != b'X' {
                        waits.asked(message[0]);
                        server.write_all(&message).await?;
                    }
                }
            }
            read = server.read(&mut from_server) => {
                for message in answers.push(&from_server[..read?]) {
                    waits.answered(&message);
                    client.write_all(&message).await?;
                }
            }
        }
    }
    Ok(())
}

/// What a client waits for.
#[derive(Default)]
struct Waits {
    /// How many more times the server says that it is ready.
    ready: usize,
    /// Whether something was asked since the last Sync.
    is_asking: bool,
    is_over: bool,
}

impl Waits {
    /// For the server's welcome.
    fn begun() -> Self {
        Self { ready: 1, ..Self::default() }
    }

    fn asked(&mut self, kind: u8) {
        self.is_asking = !matches!(kind, b'Q' | b'S' | b'p'); // the last is a password
        self.ready += usize::from(matches!(kind, b'Q' | b'S'));
    }

    fn answered(&mut self, message: &[u8]) {
        if message[0] == b'Z' {
            self.ready -= 1;
            self.is_over = self.ready == 0 && !self.is_asking && message[5] == b'I';
        }
    }
}
