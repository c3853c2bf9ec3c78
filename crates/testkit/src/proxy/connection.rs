use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::postgres::{Messages, Session, answers_commit, startup};
use super::rule::{Awaited, When};
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
    let awaited = Mutex::new(None);
    let requests = requests(from_client, to_server, shared, &awaited);
    let answers = answers(from_server, to_client, shared, &awaited);
    tokio::try_join!(requests, answers)?;
    Ok(())
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    shared: &Shared,
    awaited: &Mutex<Option<Awaited>>,
) -> io::Result<()> {
    let mut pieces = Pieces::new(shared.postgres);
    let mut session = Session::default();
    while let Some(pieces) = pieces.read(&mut client, shared).await? {
        for piece in pieces {
            let is_commit = shared.postgres && session.commits(&piece);
            match shared.meet(&piece, is_commit) {
                None => {}
                Some((When::BeforeRequest, _)) => return Err(shared.cut()),
                Some((When::BeforeAnswer, answer)) => *awaited.lock().unwrap() = Some(answer),
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
    awaited: &Mutex<Option<Awaited>>,
) -> io::Result<()> {
    let mut pieces = Pieces::new(shared.postgres);
    while let Some(pieces) = pieces.read(&mut server, shared).await? {
        for piece in pieces {
            let awaited = *awaited.lock().unwrap();
            match awaited {
                Some(Awaited::Anything) => return Err(shared.cut()),
                Some(Awaited::Commit) if answers_commit(&piece) => return Err(shared.cut()),
                _ => client.write_all(&piece).await?,
            }
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

    /// The rule that a request meets, which is then spent.
    fn meet(&self, request: &[u8], is_commit: bool) -> Option<(When, Awaited)> {
        let mut rule = self.rule.lock().unwrap();
        let met = rule.as_mut()?.meets(request, is_commit);
        let rule = if met { rule.take()? } else { return None };
        Some((rule.when, rule.awaited()))
    }

    fn cut(&self) -> io::Error {
        self.fired.send_modify(|fired| *fired += 1);
        io::Error::other("cut by a rule")
    }
}
