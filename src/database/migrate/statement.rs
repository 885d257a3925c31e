//! One statement, and what the runner has to know of it before it sends it.

use crate::sql::quote_literal;

/// One statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without the `;`.
    pub sql: String,
    /// The line of its file that it begins in, from 1.
    pub line: usize,
    /// Whether it says `/* batch */`.
    pub(super) batch: bool,
    /// Its tokens without comments; names and keywords in upper case.
    pub(super) words: Vec<String>,
    /// Its tokens without comments, in one line.
    pub(super) normalised: String,
}

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Opens a transaction of the file's own.
    Begin,
    /// Ends it.
    Commit,
    /// Gives it up: a migration that wants that wants nothing.
    Rollback,
    /// PostgreSQL refuses it, or may refuse it, inside of a transaction.
    Alone,
    /// Reads rows from the client, which a migration has none of.
    CopyFromClient,
    /// Everything else.
    Ordinary,
}

/// An index that a statement builds without blocking writers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConcurrentIndex {
    /// As it is written; the server makes one up where it is not.
    pub(super) name: Option<String>,
    /// As it is written, with its schema where that is.
    pub(super) table: String,
}

impl Statement {
    pub(super) fn kind(&self) -> Kind {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let has = |word| words.contains(&word);
        match words.as_slice() {
            ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Kind::Begin,
            ["COMMIT" | "END", ..] => Kind::Commit,
            ["ROLLBACK" | "ABORT", rest @ ..] if !rest.contains(&"TO") => Kind::Rollback,
            ["COPY", ..] if has("STDIN") => Kind::CopyFromClient,
            ["CREATE" | "DROP" | "REINDEX" | "ALTER" | "REFRESH", ..] if has("CONCURRENTLY") => Kind::Alone,
            ["VACUUM" | "CLUSTER" | "CALL" | "DO" | "REINDEX", ..]
            | ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..]
            | ["ALTER", "SYSTEM" | "DATABASE" | "SUBSCRIPTION", ..] => Kind::Alone,
            _ => Kind::Ordinary,
        }
    }

    /// Whether it works without blocking, by waiting for older transactions: a lock timeout would only end that.
    pub(super) fn is_concurrent(&self) -> bool {
        self.kind() == Kind::Alone && self.words.iter().any(|word| word == "CONCURRENTLY")
    }

    /// The index of a `CREATE INDEX CONCURRENTLY`.
    pub(super) fn concurrent_index(&self) -> Option<ConcurrentIndex> {
        let position = |word: &str| self.words.iter().position(|found| found == word);
        if self.words.first()? != "CREATE" || !self.words.iter().take(3).any(|word| word == "INDEX") {
            return None;
        }
        let (after, on) = (position("CONCURRENTLY")? + 1, position("ON")?);
        let named: Vec<_> =
            self.words.get(after..on)?.iter().skip_while(|w| ["IF", "NOT", "EXISTS"].contains(&w.as_str())).collect();
        let table = self.words.get(on + 1..)?.iter().filter(|word| *word != "ONLY");
        let table: String = table.take_while(|word| *word != "USING" && *word != "(").map(|w| identifier(w)).collect();
        Some(ConcurrentIndex { name: named.last().map(|name| identifier(name)), table })
    }

    /// The table of an UPDATE or DELETE, and what its columns are qualified with.
    pub(super) fn changed_table(&self) -> Option<(String, String)> {
        let mut words = self
            .words
            .iter()
            .skip_while(|word| ["UPDATE", "DELETE", "FROM", "ONLY"].contains(&word.as_str()))
            .peekable();
        let mut table = identifier(words.next()?);
        while words.next_if(|word| *word == ".").is_some() {
            table = format!("{table}.{}", identifier(words.next()?));
        }
        words.next_if(|word| *word == "AS");
        let alias = words.next().filter(|word| !["SET", "USING", "WHERE", "FROM"].contains(&word.as_str()));
        let qualifier = alias.map_or_else(|| table.clone(), |alias| identifier(alias));
        Some((table, qualifier))
    }

    /// The line of the file that the nth character of the statement is in, from 1, as errors of PostgreSQL count.
    pub(super) fn line_at(&self, character: u32) -> usize {
        let before = self.sql.chars().take((character as usize).saturating_sub(1));
        self.line + before.filter(|character| *character == '\n').count()
    }

    /// Its beginning, in one line.
    #[must_use]
    pub fn excerpt(&self) -> String {
        const WIDTH: usize = 70;
        let line = self.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH - 1).chain(['…']).collect() }
    }
}

impl ConcurrentIndex {
    /// The query for the indexes of that name, or for all of the table where it has none, that are valid or not.
    pub(super) fn query(&self, valid: bool) -> String {
        let name = self.name.as_ref().map(|name| format!(" AND c.relname = (parse_ident({}))[1]", quote_literal(name)));
        format!(
            "SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
              WHERE i.indrelid = to_regclass({}) AND i.indisvalid = {valid}{}",
            quote_literal(&self.table),
            name.unwrap_or_default()
        )
    }
}

/// The words are in upper case, which the server folds again; a name in quotes is as it was.
fn identifier(word: &str) -> String {
    if word.starts_with('"') { word.to_owned() } else { word.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::script::Script;
    use super::*;

    fn statement(sql: &str) -> Statement {
        Script { file: "up.sql", sql: sql.into() }.statements().unwrap().remove(0)
    }

    #[rstest]
    #[case("begin", Kind::Begin)]
    #[case("START TRANSACTION", Kind::Begin)]
    #[case("end", Kind::Commit)]
    #[case("ROLLBACK", Kind::Rollback)]
    #[case("ROLLBACK TO SAVEPOINT a", Kind::Ordinary)]
    #[case("create unique index concurrently a on b (c)", Kind::Alone)]
    #[case("CREATE TABLE concurrently_made (id int)", Kind::Ordinary)]
    #[case("ALTER TABLE a DETACH PARTITION b CONCURRENTLY", Kind::Alone)]
    #[case("VACUUM a", Kind::Alone)]
    #[case("DO $$ BEGIN COMMIT; END $$", Kind::Alone)]
    #[case("COPY a FROM STDIN", Kind::CopyFromClient)]
    #[case("COPY a FROM '/file'", Kind::Ordinary)]
    fn a_statement_says_how_it_is_sent(#[case] sql: &str, #[case] kind: Kind) {
        assert_eq!(statement(sql).kind(), kind);
    }

    #[rstest]
    #[case("CREATE INDEX CONCURRENTLY a ON b (c)", Some((Some("a"), "b")))]
    #[case("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"A b\" ON ONLY s.\"T\" USING gin (c)", Some((Some("\"A b\""), "s.\"T\"")))]
    #[case("CREATE INDEX CONCURRENTLY ON b (c)", Some((None, "b")))]
    #[case("CREATE INDEX a ON b (c)", None)]
    #[case("DROP INDEX CONCURRENTLY a", None)]
    fn a_concurrent_index_is_found(#[case] sql: &str, #[case] expected: Option<(Option<&str>, &str)>) {
        let expected =
            expected.map(|(name, table)| ConcurrentIndex { name: name.map(Into::into), table: table.into() });
        assert_eq!(statement(sql).concurrent_index(), expected);
    }

    #[rstest]
    #[case("UPDATE users SET a = 1", "users", "users")]
    #[case("update only public.\"Users\" as u set a = 1", "public.\"Users\"", "u")]
    #[case("DELETE FROM users u WHERE a", "users", "u")]
    #[case("DELETE FROM users WHERE a", "users", "users")]
    fn the_changed_table_is_found(#[case] sql: &str, #[case] table: &str, #[case] qualifier: &str) {
        assert_eq!(statement(sql).changed_table(), Some((table.to_owned(), qualifier.to_owned())));
    }

    #[test]
    fn a_position_has_a_line() {
        let statement = statement("\n\nSELECT\n  nothing");
        assert_eq!((statement.line_at(1), statement.line_at(10)), (3, 4));
    }
}
