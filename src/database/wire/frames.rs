//! The server's messages, cut out of whatever pieces come.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};

use super::{Said, State, Wire};

/// A message begins with its kind, and its length without the kind.
const HEADER: usize = 5;

/// A longer one than this is not kept: what is looked at is short.
const MAX_KEPT: usize = 1 << 20;

/// Where in the stream we are.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The message at hand, as far as it has come: its header, or all of it where it is kept.
    message: BytesMut,
    /// Bytes of a message that is not kept.
    skip: usize,
}

impl Frames {
    /// Takes the next bytes, and tells `wire` of each error and of each statement's end.
    pub(super) fn hear(&mut self, mut bytes: &[u8], wire: &Wire) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = self.length().unwrap_or(HEADER);
            let taken = (wanted - self.message.len()).min(bytes.len());
            self.message.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let Some(length) = self.length() else { continue };
            // Errors, the ends of statements and of what was sent.
            if !matches!(self.message[0], b'E' | b'C' | b'Z') || length > MAX_KEPT {
                self.skip = length - self.message.len();
                self.message.clear();
            } else if self.message.len() == length {
                tell(&mut self.message, wire);
                self.message.clear();
            }
        }
    }

    /// The length of the message at hand, with its header, once that is there.
    fn length(&self) -> Option<usize> {
        let length = self.message.get(1..HEADER)?.try_into().ok().map(u32::from_be_bytes)?;
        Some((length as usize + 1).max(HEADER))
    }
}

fn tell(message: &mut BytesMut, wire: &Wire) {
    // What cannot be read, the driver complains of.
    match Message::parse(message) {
        Ok(Some(Message::ErrorResponse(body))) => {
            if let Some(said) = read(&body) {
                wire.fails(said);
            }
        }
        Ok(Some(Message::CommandComplete(body))) => {
            if matches!(body.tag(), Ok("COMMIT" | "BEGIN" | "START TRANSACTION" | "PREPARE TRANSACTION")) {
                wire.turned();
            }
        }
        Ok(Some(Message::ReadyForQuery(body))) => wire.is(match body.status() {
            b'T' => State::InTransaction,
            b'E' => State::Failed,
            _ => State::Idle,
        }),
        _ => {}
    }
}

fn read(body: &ErrorResponseBody) -> Option<Said> {
    let mut said = Said::default();
    let mut fields = body.fields();
    while let Some(field) = fields.next().ok()? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => said.code = value,
            b'M' => said.message = value,
            b'D' => said.detail = Some(value),
            b'H' => said.hint = Some(value),
            b't' => said.table = Some(value),
            b'c' => said.column = Some(value),
            b'n' => said.constraint = Some(value),
            b'P' => said.position = value.parse().ok(),
            _ => {}
        }
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    fn error(code: &str, message_: &str) -> Vec<u8> {
        message(b'E', format!("SERROR\0C{code}\0M{message_}\0Dfor nobody\0nusers_email_key\0\0").as_bytes())
    }

    /// A deadlock, a row in between that looks like an error, and what fails behind it.
    fn stream() -> Vec<u8> {
        [
            message(b'D', &error("00000", "a value of a row")),
            message(b'C', b"SELECT 1\0"),
            message(b'Z', b"T"),
            error("40P01", "deadlock detected"),
            message(b'Z', b"E"),
            error("25P02", "current transaction is aborted"),
            message(b'Z', b"E"),
        ]
        .concat()
    }

    #[test]
    fn the_first_error_is_the_root_whatever_pieces_come() {
        for size in 1..stream().len() {
            let (wire, mut frames) = (Wire::default(), Frames::default());
            wire.begins();
            for piece in stream().chunks(size) {
                frames.hear(piece, &wire);
            }
            let codes: Vec<_> = wire.record().errors.iter().map(|said| said.code.clone()).collect();
            assert_eq!(codes, ["40P01", "25P02"], "in pieces of {size}");
            let root = wire.root().unwrap();
            assert_eq!((root.code(), root.constraint.as_deref()), ("40P01", Some("users_email_key")));
            assert!(!wire.was_ended());
            // As behind ROLLBACK TO SAVEPOINT.
            frames.hear(&message(b'Z', b"T"), &wire);
            assert!(wire.root().is_none());
        }
    }

    #[test]
    fn an_end_that_was_not_announced_is_noticed() {
        let heard = |announced: bool, bytes: &[u8]| {
            let (wire, mut frames) = (Wire::default(), Frames::default());
            wire.begins();
            if announced {
                wire.ends();
            }
            frames.hear(bytes, &wire);
            wire.was_ended()
        };
        let (idle, both) = (message(b'Z', b"I"), [message(b'C', b"COMMIT\0"), message(b'Z', b"T")].concat());
        assert!(heard(false, &idle) && heard(false, &both));
        assert!(!heard(true, &idle) && !heard(true, &both));
        assert!(!heard(false, &message(b'C', b"ROLLBACK\0")), "as of ROLLBACK TO SAVEPOINT");
    }
}
