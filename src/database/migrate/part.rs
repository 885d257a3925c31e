//! A statement that is being read: its words, its mark, where it may end, and what its checksum sees.

use sha2::{Digest as _, Sha256};
use squawk_lexer::TokenKind;

use super::script::{is_alone_mark, is_batch_mark};
use super::statement::{Mark, WORDS};

pub(super) fn mark(comment: &str) -> Option<Mark> {
    match comment {
        _ if is_batch_mark(comment) => Some(Mark::Batch),
        _ if is_alone_mark(comment) => Some(Mark::Alone),
        _ => None,
    }
}

/// What the checksum sees of a token.
pub(super) fn normalise(kind: TokenKind, text: &str, digest: &mut Sha256) {
    if kind == TokenKind::Ident {
        if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            digest.update(text);
        } else {
            digest.update(text.to_lowercase());
        }
    } else {
        for (n, line) in text.split("\r\n").enumerate() {
            if n > 0 {
                digest.update("\n");
            }
            digest.update(line);
        }
    }
    digest.update(" ");
}

/// Whether `standard_conforming_strings` is on behind a statement, where that sets it.
pub(super) fn sets_conforming_strings(words: &[String]) -> Option<bool> {
    const NAME: &str = "STANDARD_CONFORMING_STRINGS";
    let words: Vec<&str> = words.iter().take(16).map(String::as_str).collect();
    let on = |value: &str| !["off", "false", "no", "0"].contains(&value.trim_matches('\'').to_lowercase().as_str());
    match words.as_slice() {
        ["SET", NAME, _, value, ..] | ["SET", "SESSION" | "LOCAL", NAME, _, value, ..] => Some(on(value)),
        ["RESET", NAME | "ALL"] => Some(true),
        ["SELECT", rest @ ..] => {
            let name = rest.iter().position(|word| word.trim_matches('\'').eq_ignore_ascii_case(NAME))?;
            let sets = rest[..name].contains(&"SET_CONFIG");
            rest.get(name + 2).filter(|_| sets).map(|value| on(value))
        }
        _ => None,
    }
}

/// A statement that is being read.
#[derive(Default)]
pub(super) struct Part {
    /// Its first byte, and the line of that.
    pub(super) start: Option<(usize, usize)>,
    pub(super) end: usize,
    pub(super) mark: Option<Mark>,
    pub(super) words: Vec<String>,
    last: Last,
    parentheses: usize,
    /// `BEGIN ATOMIC` and the CASEs inside of it that wait for their END.
    atomic: usize,
}

/// The word before, as far as the next one depends on it.
#[derive(Default, PartialEq)]
enum Last {
    #[default]
    Other,
    Begin,
    /// `AS` or `.`: what follows is a name.
    Names,
}

impl Part {
    pub(super) fn may_end(&self) -> bool {
        self.parentheses == 0 && self.atomic == 0
    }

    pub(super) fn has(&self, word: &str, at: usize) -> bool {
        self.words.get(at).is_some_and(|found| found == word)
    }

    pub(super) fn push(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        let word = if kind == TokenKind::Ident { text.to_uppercase() } else { text.to_owned() };
        self.last = match word.as_str() {
            "ATOMIC" if self.last == Last::Begin && self.makes_routine() => {
                self.atomic = 1;
                Last::Other
            }
            "CASE" if self.atomic > 0 && self.last != Last::Names => {
                self.atomic += 1;
                Last::Other
            }
            "END" if self.atomic > 0 && self.last != Last::Names => {
                self.atomic -= 1;
                Last::Other
            }
            "BEGIN" if self.atomic == 0 && self.parentheses == 0 && self.last != Last::Names => Last::Begin,
            "AS" | "." => Last::Names,
            _ => Last::Other,
        };
        if self.words.len() < WORDS {
            self.words.push(word);
        }
    }

    fn makes_routine(&self) -> bool {
        let what = if self.has("OR", 1) { 3 } else { 1 };
        self.has("CREATE", 0) && (self.has("FUNCTION", what) || self.has("PROCEDURE", what))
    }
}
