//! Several requests on their way over one connection.

use std::marker::PhantomData;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::conversation::{Conversation, frame};
use super::transport::Transport;
use super::{Connection, LONGEST_IDLE};
use crate::api::Call;
use crate::error::Error;

/// A connection that sends requests without waiting for the answers to those before. It ends when dropped.
pub(crate) struct Pipeline<C> {
    client_id: StrBytes,
    version: i16,
    sent: i32,
    frames: mpsc::UnboundedSender<Result<Bytes, Error>>,
    expires: Option<Instant>,
    used: Instant,
    request: PhantomData<fn(C)>,
    /// Aborted when dropped.
    _task: JoinSet<()>,
}

impl Connection {
    /// Requests of one kind, not above a version. `answered` gets the answers in the order of the requests, then an error
    /// when the connection is lost, and nothing more.
    pub(crate) fn into_pipeline<C: Call + 'static>(
        self,
        highest: i16,
        answered: impl FnMut(Result<C::Answer, Error>) + Send + 'static,
    ) -> Result<Pipeline<C>, Error> {
        let version = self.versions.of::<C>(&self.broker)?.min(highest);
        let (frames, receiver) = mpsc::unbounded_channel();
        let wire = Wire {
            conversation: self.conversation(),
            version,
            sent: self.sent,
            free_from: self.throttled_until,
        };
        let mut task = JoinSet::new();
        task.spawn(wire.carry::<C>(self.transport, receiver, answered));
        Ok(Pipeline {
            client_id: self.client_id,
            version,
            sent: self.sent,
            frames,
            expires: self.expires,
            used: Instant::now(),
            request: PhantomData,
            _task: task,
        })
    }
}

impl<C: Call> Pipeline<C> {
    /// Returns before it is sent. What goes wrong `answered` is told.
    pub(crate) fn send(&mut self, request: &C) {
        self.sent = self.sent.wrapping_add(1);
        self.used = Instant::now();
        // Where the task has ended, it has said why.
        let _ = self.frames.send(frame(&self.client_id, self.sent, self.version, request));
    }

    /// Whether more may be sent, and the broker probably still listens.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = Instant::now();
        self.expires.is_none_or(|expires| now < expires) && now < self.used + LONGEST_IDLE
    }
}

struct Wire {
    conversation: Conversation,
    version: i16,
    /// The number of the last request that is answered.
    sent: i32,
    /// The broker reads nothing before.
    free_from: Option<Instant>,
}

impl Wire {
    async fn carry<C: Call>(
        mut self,
        transport: Transport,
        mut frames: mpsc::UnboundedReceiver<Result<Bytes, Error>>,
        mut answered: impl FnMut(Result<C::Answer, Error>) + Send,
    ) {
        let (mut reader, mut writer) = tokio::io::split(transport);
        let (free_from, conversation) = (self.free_from, self.conversation.clone());
        let write = async {
            if let Some(until) = free_from {
                sleep_until(until).await;
            }
            while let Some(framed) = frames.recv().await {
                conversation.send(C::API, &mut writer, &framed?).await?;
            }
            std::future::pending().await
        };
        let read = async {
            loop {
                answered(Ok(self.answer::<C>(&mut reader).await?));
            }
        };
        let ended: Result<(), Error> = tokio::select! {
            ended = write => ended,
            ended = read => ended,
        };
        if let Err(error) = ended {
            answered(Err(error));
        }
    }

    async fn answer<C: Call>(
        &mut self,
        reader: &mut (impl tokio::io::AsyncRead + Unpin),
    ) -> Result<C::Answer, Error> {
        let (answer, is_whole) = self.conversation.receive(C::API, reader).await?;
        self.sent = self.sent.wrapping_add(1);
        let answer = self.conversation.open::<C>(answer, self.sent, self.version)?;
        C::decode(answer, !is_whole, self.version)
            .map_err(|reason| self.conversation.garbled(C::API, &reason))
    }
}
