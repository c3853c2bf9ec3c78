//! As much of Postgres' protocol as it takes to see a COMMIT pass.

use std::collections::HashSet;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENCRYPTION_REQUEST: u32 = 80_877_104;

/// The client's first message, which alone has no type; requests for encryption before it are declined.
pub(super) async fn startup(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let length = client.read_u32().await?;
        let mut message = length.to_be_bytes().to_vec();
        message.resize((length as usize).max(4), 0);
        client.read_exact(&mut message[4..]).await?;
        let code =
            message.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four bytes")));
        if !matches!(code, Some(SSL_REQUEST | GSS_ENCRYPTION_REQUEST)) {
            return Ok(message);
        }
        client.write_all(b"N").await?;
    }
}

/// Cuts a stream into messages: one byte of type, four of length, which count themselves.
#[derive(Default)]
pub(super) struct Messages(Vec<u8>);

impl Messages {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(length) = self.0.get(1..5) {
            let length = 1 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if self.0.len() < length {
                break;
            }
            let rest = self.0.split_off(length);
            messages.push(std::mem::replace(&mut self.0, rest));
        }
        messages
    }
}

/// The prepared statements and portals of a session that commit.
#[derive(Default)]
pub(super) struct Session {
    statements: HashSet<Vec<u8>>,
    portals: HashSet<Vec<u8>>,
}

impl Session {
    /// Whether this message of the client makes the server commit.
    pub(super) fn commits(&mut self, message: &[u8]) -> bool {
        let (kind, body) = (message[0], &message[5..]);
        let mut texts = body.split(|&byte| byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => return is_commit(text()),
            b'P' => {
                let (name, sql) = (text(), text());
                note(&mut self.statements, name, is_commit(sql));
            }
            b'B' => {
                let (portal, statement) = (text(), text());
                note(&mut self.portals, portal, self.statements.contains(statement));
            }
            b'E' => return self.portals.contains(text()),
            _ => {}
        }
        false
    }
}

/// Whether this message of the server says how a COMMIT went.
pub(super) fn answers_commit(message: &[u8]) -> bool {
    let (kind, body) = (message[0], &message[5..]);
    kind == b'E' || kind == b'C' && (body == b"COMMIT\0" || body == b"ROLLBACK\0")
}

fn note(names: &mut HashSet<Vec<u8>>, name: &[u8], commits: bool) {
    if commits {
        names.insert(name.to_vec());
    } else {
        names.remove(name);
    }
}

/// Whether one of the statements is a COMMIT: a text that only holds the word, `on commit drop`, is none.
fn is_commit(sql: &[u8]) -> bool {
    let sql = String::from_utf8_lossy(sql);
    sql.split(';').any(|statement| {
        let first_word = statement.split_whitespace().next();
        first_word.is_some_and(|word| word.eq_ignore_ascii_case("commit"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    #[test]
    fn messages_are_whole_however_they_arrive() {
        let (first, second) = (message(b'Q', b"select 1\0"), message(b'S', b""));
        let stream = [first.clone(), second.clone()].concat();
        let mut messages = Messages::default();
        let mut seen = Vec::new();
        for byte in stream {
            seen.extend(messages.push(&[byte]));
        }
        assert_eq!(seen, [first, second]);
    }

    #[test]
    fn a_commit_is_seen_in_each_of_its_forms() {
        let mut session = Session::default();
        assert!(session.commits(&message(b'Q', b"COMMIT\0")));
        assert!(session.commits(&message(b'Q', b"insert into t values (1); commit and chain\0")));
        assert!(!session.commits(&message(b'Q', b"create temp table t (a int) on commit drop\0")));
        assert!(!session.commits(&message(b'P', b"s1\0commit\0\0\0")));
        assert!(!session.commits(&message(b'P', b"s2\0select 'commit'\0\0\0")));
        assert!(!session.commits(&message(b'B', b"\0s1\0")));
        assert!(session.commits(&message(b'E', b"\0\0\0\0\0")));
        assert!(!session.commits(&message(b'B', b"\0s2\0")));
        assert!(!session.commits(&message(b'E', b"\0\0\0\0\0")));
    }

    #[test]
    fn only_the_end_of_a_transaction_answers_a_commit() {
        for body in [&b"COMMIT\0"[..], b"ROLLBACK\0"] {
            assert!(answers_commit(&message(b'C', body)));
        }
        assert!(answers_commit(&message(b'E', b"SERROR\0\0")));
        assert!(!answers_commit(&message(b'C', b"INSERT 0 1\0")));
        assert!(!answers_commit(&message(b'2', b"")));
    }
}
