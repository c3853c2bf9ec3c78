use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::postgres::{Messages, Session, answers_commit, startup};
use super::rule::When;
use super::{Mode, Shared};

/// Until both ends have closed, or one has failed, or a rule cuts it: both sockets close with this future.
pub(super) async fn forward(client: TcpStream, shared: Arc<Shared>) {
    // How it ended is for the two ends to notice.
    let _ = run(client, &shared).await;
}

async fn run(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    shared.passing().await;
    let mut server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    if shared.postgres {
        let message = startup(&mut client).await?;
        shared.passing().await;
        server.write_all(&message).await?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_cut_at_answer = AtomicBool::new(false);
    let requests = requests(from_client, to_server, shared, &is_cut_at_answer);
    let answers = answers(from_server, to_client, shared, &is_cut_at_answer);
    tokio::try_join!(requests, answers)?;
    Ok(())
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    shared: &Shared,
    is_cut_at_answer: &AtomicBool,
) -> io::Result<()> {
    let mut pieces = Pieces::new(shared.postgres);
    let mut session = Session::default();
    while let Some(pieces) = pieces.read(&mut client, shared).await? {
        for piece in pieces {
            if shared.postgres && session.commits(&piece) {
                match shared.meet() {
                    None => {}
                    Some(When::BeforeRequest) => return Err(shared.cut()),
                    Some(When::BeforeAnswer) => is_cut_at_answer.store(true, Ordering::Relaxed),
                }
            }
            server.write_all(&piece).await?;
        }
    }
    server.shutdown().await
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    shared: &Shared,
    is_cut_at_answer: &AtomicBool,
) -> io::Result<()> {
    let mut pieces = Pieces::new(shared.postgres);
    while let Some(pieces) = pieces.read(&mut server, shared).await? {
        for piece in pieces {
            if is_cut_at_answer.load(Ordering::Relaxed) && answers_commit(&piece) {
                return Err(shared.cut());
            }
            client.write_all(&piece).await?;
        }
    }
    client.shutdown().await
}

/// A stream in the pieces that rules look at.
struct Pieces {
    buffer: Vec<u8>,
    messages: Option<Messages>,
}

impl Pieces {
    fn new(postgres: bool) -> Self {
        Self { buffer: vec![0; 64 * 1024], messages: postgres.then(Messages::default) }
    }

    /// What one read gave, held back while nothing passes; `None` at the end.
    async fn read(
        &mut self,
        stream: &mut OwnedReadHalf,
        shared: &Shared,
    ) -> io::Result<Option<Vec<Vec<u8>>>> {
        let length = stream.read(&mut self.buffer).await?;
        shared.passing().await;
        let bytes = &self.buffer[..length];
        Ok(match &mut self.messages {
            _ if bytes.is_empty() => None,
            Some(messages) => Some(messages.push(bytes)),
            None => Some(vec![bytes.to_vec()]),
        })
    }
}

impl Shared {
    async fn passing(&self) {
        let _ = self.mode.subscribe().wait_for(|&mode| mode != Mode::Blackhole).await;
    }

    /// The rule that a commit meets, which is then spent.
    fn meet(&self) -> Option<When> {
        let mut rule = self.rule.lock().unwrap();
        let counted = rule.as_mut()?;
        counted.left -= 1;
        if counted.left > 0 { None } else { rule.take().map(|rule| rule.when) }
    }

    fn cut(&self) -> io::Error {
        self.fired.send_modify(|fired| *fired += 1);
        io::Error::other("cut by a rule")
    }
}
