//! One statement, and what the runner has to know of it before it sends it.

/// The number of tokens of a statement that are kept: more than any statement has that is not made of rows.
pub(super) const WORDS: usize = 4096;

/// One statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text, without the `;`.
    pub sql: String,
    /// The line of the file that it begins in, from 1.
    pub line: usize,
    /// The mark that a comment in it makes.
    pub(super) mark: Option<Mark>,
    /// The first [`WORDS`] tokens without comments; names and keywords in upper case.
    pub(super) words: Vec<String>,
}

/// A comment that tells the runner how to send a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `/* batch */`: in batches of rows.
    Batch,
    /// `/* alone */`: outside of any transaction.
    Alone,
}

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Opens a transaction of the file's own.
    Begin,
    /// Ends it.
    Commit,
    /// PostgreSQL refuses it inside of a transaction.
    Alone,
    /// Everything else. What ends transactions itself, as a CALL may, is found out when it is sent.
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
        let words: Vec<&str> = self.words.iter().take(64).map(String::as_str).collect();
        let has = |word| words.contains(&word);
        match words.as_slice() {
            ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Kind::Begin,
            // They end no transaction of this session.
            ["COMMIT" | "ROLLBACK", "PREPARED", ..] => Kind::Alone,
            ["COMMIT" | "END", ..] => Kind::Commit,
            _ if self.mark == Some(Mark::Alone) => Kind::Alone,
            ["CREATE" | "DROP" | "REINDEX" | "ALTER", ..] if has("CONCURRENTLY") => Kind::Alone,
            ["REINDEX", ..] if has("DATABASE") || has("SYSTEM") || has("SCHEMA") => Kind::Alone,
            ["CLUSTER"]
            | ["CLUSTER", "VERBOSE"]
            | ["VACUUM", ..]
            | ["DISCARD", "ALL"]
            | ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..]
            | ["ALTER", "SYSTEM" | "DATABASE" | "SUBSCRIPTION", ..] => Kind::Alone,
            _ => Kind::Ordinary,
        }
    }

    /// Why no migration can have this statement, where that is so.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let words: Vec<&str> = self.words.iter().take(8).map(String::as_str).collect();
        let chains = words.windows(2).any(|pair| pair == ["AND", "CHAIN"]);
        Some(match words.as_slice() {
            ["COMMIT" | "ROLLBACK", "PREPARED", ..] => {
                "ends a transaction that another session prepared, which no rollback takes back: run it by hand"
            }
            ["PREPARE", "TRANSACTION", name, ..] if name.starts_with('\'') => {
                "takes the transaction away from the runner, which could not record it any more: write COMMIT"
            }
            ["COMMIT" | "END", ..] if chains => {
                "opens another transaction with AND CHAIN, which the runner could not record: write COMMIT and BEGIN"
            }
            ["ROLLBACK" | "ABORT", rest @ ..] if !rest.contains(&"TO") => {
                "is ROLLBACK, and a migration that rolls itself back does nothing: take it out"
            }
            _ => return None,
        })
    }

    /// What has no effect outside of a transaction, where this is such a statement.
    pub(super) fn needs_transaction(&self) -> Option<&'static str> {
        let words: Vec<&str> = self.words.iter().take(32).map(String::as_str).collect();
        match words.as_slice() {
            ["SET", "LOCAL", ..] => Some("SET LOCAL"),
            ["SET", "TRANSACTION", ..] => Some("SET TRANSACTION"),
            ["SET", "CONSTRAINTS", ..] => Some("SET CONSTRAINTS"),
            ["SAVEPOINT", ..] => Some("SAVEPOINT"),
            ["RELEASE", ..] => Some("RELEASE SAVEPOINT"),
            ["ROLLBACK" | "ABORT", rest @ ..] if rest.contains(&"TO") => Some("ROLLBACK TO SAVEPOINT"),
            ["DECLARE", rest @ ..] if !rest.windows(2).any(|pair| pair == ["WITH", "HOLD"]) => {
                Some("DECLARE CURSOR without WITH HOLD")
            }
            ["SELECT", rest @ ..] if sets_local(rest) => Some("set_config(…, true)"),
            _ => None,
        }
    }

    /// Whether it is a BEGIN that asks for more than a transaction: its isolation, or that it only reads.
    pub(super) fn has_modes(&self) -> bool {
        self.kind() == Kind::Begin
            && self.words.iter().any(|word| ["ISOLATION", "READ", "DEFERRABLE"].contains(&word.as_str()))
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.has_modes() && self.words.windows(2).any(|pair| pair == ["READ", "ONLY"])
    }

    pub(super) fn is_read_write(&self) -> bool {
        self.kind() == Kind::Begin && self.words.windows(2).any(|pair| pair == ["READ", "WRITE"])
    }

    /// Whether a failure may leave a part of it: it ends transactions itself.
    pub(super) fn may_stop_half_way(&self) -> bool {
        ["DO", "CALL"].contains(&self.first())
    }

    /// Whether nothing of its session can change by it: neither a setting, nor a role, nor an object of the session.
    /// Also, and for the same reason, several of it may be sent in one message.
    pub(super) fn is_quiet(&self) -> bool {
        let has = |word: &str| self.words.iter().any(|found| found == word);
        match self.first() {
            "INSERT" => self.inserts_constants(),
            "CREATE" | "ALTER" | "DROP" => {
                let makes_rows = has("AS") && (has("SELECT") || has("EXECUTE") || has("VALUES"));
                let makes_table = self.words.iter().take(4).any(|word| word == "TABLE" || word == "MATERIALIZED");
                !(has("TEMP") || has("TEMPORARY") || has("PG_TEMP") || (makes_rows && makes_table))
            }
            "COMMENT" | "GRANT" | "REVOKE" | "TRUNCATE" | "ANALYZE" | "VACUUM" | "REINDEX" | "CLUSTER" | "REFRESH"
            | "BEGIN" | "START" | "COMMIT" | "END" | "LOCK" => true,
            _ => false,
        }
    }

    /// `INSERT INTO t (…) VALUES (…), …` without a call or a query.
    pub(super) fn inserts_constants(&self) -> bool {
        const CONSTANTS: [&str; 4] = ["NULL", "TRUE", "FALSE", "DEFAULT"];
        if self.first() != "INSERT" || self.words.len() == WORDS {
            return false;
        }
        let Some(values) = self.words.iter().position(|word| word == "VALUES") else { return false };
        let is_name = |word: &String| word.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"');
        let is_string = |word: &String| word.contains('\'');
        self.words[values + 1..]
            .iter()
            .all(|word| !is_name(word) || is_string(word) || CONSTANTS.contains(&word.as_str()))
    }

    pub(super) fn first(&self) -> &str {
        self.words.first().map_or("", String::as_str)
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
        // A statement may be long: only its beginning is looked at.
        let mut line = String::new();
        for word in self.sql.split_whitespace() {
            if line.chars().count() > WIDTH {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word.chars().take(WIDTH + 1));
        }
        if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH - 1).chain(['…']).collect() }
    }
}

/// Whether the words behind SELECT call `set_config()` for the transaction alone, and nothing else.
fn sets_local(words: &[&str]) -> bool {
    let called = words.iter().position(|word| *word == "SET_CONFIG");
    called.is_some() && words.ends_with(&["TRUE", ")"]) && !words.contains(&"FROM")
}

/// The words are in upper case, which the server folds again; a name in quotes is as it was.
pub(super) fn identifier(word: &str) -> String {
    if word.starts_with('"') { word.to_owned() } else { word.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::script::Script;
    use super::*;

    fn statement(sql: &str) -> Statement {
        Script::new("up.sql", sql).statements().unwrap().remove(0)
    }

    #[rstest]
    #[case("begin", Kind::Begin)]
    #[case("START TRANSACTION", Kind::Begin)]
    #[case("end", Kind::Commit)]
    #[case("ROLLBACK", Kind::Ordinary)]
    #[case("COMMIT PREPARED 'a'", Kind::Alone)]
    #[case("ROLLBACK PREPARED 'a'", Kind::Alone)]
    #[case("DISCARD ALL", Kind::Alone)]
    #[case("REFRESH MATERIALIZED VIEW CONCURRENTLY a", Kind::Ordinary)]
    #[case("REINDEX TABLE a", Kind::Ordinary)]
    #[case("REINDEX (VERBOSE) TABLE CONCURRENTLY a", Kind::Alone)]
    #[case("CLUSTER a USING b", Kind::Ordinary)]
    #[case("CLUSTER", Kind::Alone)]
    #[case("SELECT f() /* alone */", Kind::Alone)]
    #[case("ROLLBACK TO SAVEPOINT a", Kind::Ordinary)]
    #[case("create unique index concurrently a on b (c)", Kind::Alone)]
    #[case("CREATE TABLE concurrently_made (id int)", Kind::Ordinary)]
    #[case("ALTER TABLE a DETACH PARTITION b CONCURRENTLY", Kind::Alone)]
    #[case("VACUUM a", Kind::Alone)]
    #[case("DO $$ BEGIN COMMIT; END $$", Kind::Ordinary)]
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
