//! An SQL file as statements, each with its line, and its two checksums: of the bytes, and of the SQL without
//! comments and white space.
//!
//! Always holds: a `;` in a string, a comment, a quoted name, a dollar-quoted body, parentheses or a
//! `BEGIN ATOMIC` body ends no statement
//! (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html>).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use super::statement::Statement;
use crate::error::{Error, Result};

/// The text of one SQL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// `up.sql` or `down.sql`.
    pub file: &'static str,
    /// What it says.
    pub sql: String,
}

impl Script {
    /// Of the bytes, in hexadecimal (SHA-256).
    #[must_use]
    pub fn checksum(&self) -> String {
        hexadecimal(&Sha256::digest(self.sql.as_bytes()))
    }

    /// Of the SQL without comments, white space, and the case of names that no quotes hold.
    ///
    /// # Errors
    /// As [`Script::statements`].
    pub fn sql_checksum(&self) -> Result<String> {
        let mut digest = Sha256::new();
        let mut separator = "";
        self.each(|statement| {
            digest.update(separator);
            digest.update(statement.normalised);
            separator = ";";
        })?;
        Ok(hexadecimal(&digest.finalize()))
    }

    /// Its statements, in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a quote or comment that does not end, with its line.
    pub fn statements(&self) -> Result<Vec<Statement>> {
        let mut statements = Vec::new();
        self.each(|statement| statements.push(statement))?;
        Ok(statements)
    }

    fn each(&self, mut found: impl FnMut(Statement)) -> Result<()> {
        let mut current = Part::default();
        let (mut at, mut line) = (0, 1);
        for token in tokenize(&self.sql) {
            let start = at;
            at += token.len as usize;
            let text = &self.sql[start..at];
            let started_in = line;
            line += text.matches('\n').count();
            if unterminated(token.kind) {
                return Err(Error::invalid(
                    format!("{} line {}", self.file, line_of(&self.sql, start)),
                    "opens a quote or a comment that does not end",
                ));
            }
            match token.kind {
                TokenKind::Eof => break,
                TokenKind::BlockComment { .. } if is_batch_mark(text) && current.start.is_some() => {
                    current.end = at;
                    current.batch = true;
                }
                TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {}
                TokenKind::Semi if current.may_end() => {
                    std::mem::take(&mut current).end(&self.sql).into_iter().for_each(&mut found);
                }
                kind => {
                    current.start.get_or_insert((start, started_in));
                    current.end = at;
                    current.push(kind, text);
                }
            }
        }
        current.end(&self.sql).into_iter().for_each(found);
        Ok(())
    }
}

/// A statement that is being read.
#[derive(Default)]
struct Part {
    /// Its first byte, and the line of that.
    start: Option<(usize, usize)>,
    end: usize,
    batch: bool,
    words: Vec<String>,
    normalised: String,
    parentheses: usize,
    /// `BEGIN ATOMIC` and the CASEs inside of it that wait for their END.
    atomic: usize,
}

impl Part {
    fn may_end(&self) -> bool {
        self.parentheses == 0 && self.atomic == 0
    }

    fn push(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Ident => self.word(&text.to_uppercase()),
            _ => {}
        }
        let plain = if kind == TokenKind::Ident { text.to_lowercase() } else { text.to_owned() };
        // Writing to a String cannot fail.
        let _ = write!(self.normalised, "{plain} ");
        if kind != TokenKind::Ident {
            self.words.push(text.to_owned());
        }
    }

    fn word(&mut self, word: &str) {
        match word {
            "ATOMIC" if self.words.last().is_some_and(|last| last == "BEGIN") => self.atomic = 1,
            "CASE" if self.atomic > 0 => self.atomic += 1,
            "END" if self.atomic > 0 => self.atomic -= 1,
            _ => {}
        }
        self.words.push(word.to_owned());
    }

    fn end(self, file: &str) -> Option<Statement> {
        let (start, line) = self.start?;
        Some(Statement {
            sql: file[start..self.end].to_owned(),
            line,
            batch: self.batch,
            words: self.words,
            normalised: self.normalised,
        })
    }
}

/// `/* batch */`: see `batch.rs`.
pub(super) fn is_batch_mark(comment: &str) -> bool {
    comment.trim_start_matches("/*").trim_end_matches("*/").trim() == "batch"
}

pub(super) fn unterminated(kind: TokenKind) -> bool {
    match kind {
        TokenKind::BlockComment { terminated } | TokenKind::QuotedIdent { terminated, .. } => !terminated,
        TokenKind::Literal { kind } => match kind {
            LiteralKind::Str { terminated }
            | LiteralKind::NationalStr { terminated }
            | LiteralKind::ByteStr { terminated }
            | LiteralKind::BitStr { terminated }
            | LiteralKind::DollarQuotedString { terminated }
            | LiteralKind::UnicodeEscStr { terminated }
            | LiteralKind::EscStr { terminated } => !terminated,
            LiteralKind::Int { .. } | LiteralKind::Numeric { .. } => false,
        },
        _ => false,
    }
}

/// The line, from 1, that this byte is in.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn script(sql: &str) -> Script {
        Script { file: "up.sql", sql: sql.to_owned() }
    }

    fn split(sql: &str) -> Vec<String> {
        script(sql).statements().unwrap().into_iter().map(|statement| statement.sql).collect()
    }

    #[rstest]
    #[case("", &[])]
    #[case("-- nothing; here\n /* ; /* ; */ ; */ ;;", &[])]
    #[case("a; b", &["a", "b"])]
    #[case("SELECT ';', E'\\';', \"x;y\", $$;$$, $a$ $$ ; $a$; b;", &["SELECT ';', E'\\';', \"x;y\", $$;$$, $a$ $$ ; $a$", "b"])]
    #[case("CREATE RULE r AS ON INSERT TO t DO (a; b); c", &["CREATE RULE r AS ON INSERT TO t DO (a; b)", "c"])]
    #[case(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; c",
        &["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END", "c"]
    )]
    #[case("BEGIN; a; END; b", &["BEGIN", "a", "END", "b"])]
    #[case("a -- it's\n; b", &["a", "b"])]
    #[case("SELECT 1 /* ; */ + 1; ü", &["SELECT 1 /* ; */ + 1", "ü"])]
    fn only_a_semicolon_between_statements_ends_one(#[case] sql: &str, #[case] expected: &[&str]) {
        assert_eq!(split(sql), expected);
    }

    #[test]
    fn a_statement_knows_its_line() {
        let lines: Vec<_> =
            script("-- one\na;\n\n/* x\n*/ b\n;c").statements().unwrap().iter().map(|s| s.line).collect();
        assert_eq!(lines, [2, 5, 6]);
    }

    #[rstest]
    #[case("a;\n'open")]
    #[case("a;\n/* open")]
    #[case("a;\n$x$ open $$")]
    #[case("a;\n\"open")]
    fn what_does_not_end_is_told_with_its_line(#[case] sql: &str) {
        let error = script(sql).statements().unwrap_err().to_string();
        assert_eq!(error, "up.sql line 2 opens a quote or a comment that does not end");
    }

    #[rstest]
    #[case("CREATE TABLE t (id int);", "-- why\ncreate  table T(id INT)", true)]
    #[case("SELECT 'a b'", "SELECT 'a  b'", false)]
    #[case("SELECT \"A\"", "SELECT \"a\"", false)]
    #[case("a; b", "a b", false)]
    #[case("SELECT $$ -- x\n$$", "SELECT $$ $$", false)]
    fn the_second_checksum_sees_what_the_server_sees(#[case] a: &str, #[case] b: &str, #[case] same: bool) {
        let (a, b) = (script(a), script(b));
        assert_ne!(a.checksum(), b.checksum());
        assert_eq!(a.sql_checksum().unwrap() == b.sql_checksum().unwrap(), same);
    }
}
