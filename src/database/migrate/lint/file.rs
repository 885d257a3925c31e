//! One SQL file as squawk's syntax tree, and how to ask it for names, words and lines.

use squawk_lexer::{TokenKind, tokenize};
use squawk_syntax::{Parse, SourceFile, SyntaxKind, SyntaxNode};

use super::super::script::{Script, line_of, unterminated};
use super::super::statement::Statement;
use super::Found;
use crate::error::Error;

/// Parentheses in one another, and words with neither `,` nor `;` between: the parser calls itself for each, and a
/// stack that is full cannot be caught.
const DEEPEST: usize = 200;
const LONGEST: usize = 1000;

/// What a script says.
pub(super) struct File {
    pub(super) name: &'static str,
    /// Every comment is blank, so that none silences squawk: an exemption has a reason.
    pub(super) sql: String,
    pub(super) parse: Parse<SourceFile>,
    /// As the runner sees it.
    pub(super) script: Vec<Statement>,
}

impl File {
    /// Or where it cannot even be taken apart.
    pub(super) fn read(script: &Script) -> Result<Self, Found> {
        let unreadable = |error: &Error| Found { file: script.file, line: None, message: error.to_string() };
        let text = script.text().map_err(|error| unreadable(&error))?;
        let sql = without_comments(&text).map_err(|(byte, message)| Found {
            file: script.file,
            line: Some(line_of(&text, byte)),
            message: message.to_owned(),
        })?;
        let statements = script.statements().map_err(|error| unreadable(&error))?;
        Ok(Self { name: script.file, parse: SourceFile::parse(&sql), sql, script: statements })
    }

    pub(super) fn statements(&self) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.parse.syntax_node().children()
    }

    /// The statements of a kind.
    pub(super) fn all(&self, kind: SyntaxKind) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.statements().filter(move |statement| statement.kind() == kind)
    }

    /// The nodes of a kind, wherever they stand.
    pub(super) fn anywhere(&self, kind: SyntaxKind) -> impl Iterator<Item = SyntaxNode> + use<> {
        self.parse.syntax_node().descendants().filter(move |node| node.kind() == kind)
    }

    pub(super) fn found(&self, node: &SyntaxNode, message: impl Into<String>) -> Found {
        self.found_at(node.text_range().start().into(), message)
    }

    pub(super) fn found_at(&self, byte: usize, message: impl Into<String>) -> Found {
        // Spaces before it belong to a node too.
        let spaces = self.sql[byte..].len() - self.sql[byte..].trim_start().len();
        Found { file: self.name, line: Some(line_of(&self.sql, byte + spaces)), message: message.into() }
    }
}

/// Blanks, so that every byte keeps its place.
fn without_comments(sql: &str) -> Result<String, (usize, &'static str)> {
    let (mut blank, mut at, mut depth, mut words) = (String::with_capacity(sql.len()), 0, 0_usize, 0);
    for token in tokenize(sql) {
        let text = &sql[at..at + token.len as usize];
        if unterminated(token.kind) {
            return Err((at, "a quote or a comment begins that does not end"));
        }
        match token.kind {
            TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                blank.extend(text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            }
            kind => {
                blank.push_str(text);
                match kind {
                    TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
                    TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.saturating_sub(1),
                    TokenKind::Comma | TokenKind::Semi => words = 0,
                    TokenKind::Whitespace => {}
                    _ => words += 1,
                }
            }
        }
        if depth > DEEPEST || words > LONGEST {
            return Err((at, "an expression that is too long or too deep to be looked at"));
        }
        at += token.len as usize;
    }
    Ok(blank)
}

/// The node's children of a kind.
pub(super) fn children(node: &SyntaxNode, kind: SyntaxKind) -> impl Iterator<Item = SyntaxNode> + use<> {
    node.children().filter(move |child| child.kind() == kind)
}

/// The first node of a kind in another.
pub(super) fn first(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.descendants().find(|inner| inner.kind() == kind)
}

pub(super) fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    first(node, kind).is_some()
}

/// Its words, without white space. Names are as the server folds them: in lower case where no quotes hold them.
pub(super) fn words(node: &SyntaxNode) -> Vec<String> {
    let tokens = node.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    tokens.filter(|token| !token.kind().is_trivia()).map(|token| fold(token.text())).collect()
}

fn fold(word: &str) -> String {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None if word.starts_with(['\'', '$']) => word.to_owned(),
        None => word.to_lowercase(),
    }
}

/// The name in the first node of a kind, without its schema.
pub(super) fn name(node: &SyntaxNode, kind: SyntaxKind) -> Option<String> {
    words(&first(node, kind)?).pop()
}

/// The function that a call calls.
pub(super) fn called(call: &SyntaxNode) -> String {
    words(call).into_iter().take_while(|word| word != "(").last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_blank_and_every_byte_keeps_its_place() {
        let sql = "a -- é\n/* x\n*/ 'no -- comment' b";
        let blank = without_comments(sql).unwrap();
        assert_eq!(blank, "a      \n    \n   'no -- comment' b");
        assert_eq!((blank.len(), blank.find(" b")), (sql.len(), sql.find(" b")));
    }

    #[test]
    fn what_would_fill_the_stack_is_not_parsed() {
        let deep = |n: usize| format!("SELECT {}1{};", "(".repeat(n), ")".repeat(n));
        assert!(without_comments(&deep(DEEPEST)).is_ok());
        assert!(without_comments(&deep(DEEPEST + 1)).is_err());
        let long = |word: &str| File::read(&Script::new("up.sql", format!("SELECT {}true", word.repeat(900))));
        assert!(long("NOT ").is_ok());
        assert!(long("1 + ").is_err());
    }

    #[test]
    fn names_are_folded_as_the_server_does() {
        let file = File::read(&Script::new("up.sql", "DROP TABLE S.\"Te\"\"st\"; DROP TABLE Users"));
        let Ok(file) = file else { panic!("it is read") };
        let names: Vec<_> = file.statements().filter_map(|drop| name(&drop, SyntaxKind::TABLE_NAME_REF)).collect();
        assert_eq!(names, ["Te\"st", "users"]);
    }
}
