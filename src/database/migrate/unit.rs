//! The statements of a script in units: what is sent together, and recorded together.

use sha2::Digest as _;

use super::reader::{Reader, hexadecimal};
use super::statement::{Kind, Statement};
use crate::error::Result;

/// Bytes of rows up to which INSERTs are sent in one message.
const MESSAGE: usize = 64 << 10;

/// Statements that are sent together.
#[derive(Debug)]
pub(super) struct Unit {
    /// The number of the first one, from 0.
    pub(super) first: usize,
    pub(super) statements: Vec<Statement>,
}

impl Unit {
    pub(super) fn end(&self) -> usize {
        self.first + self.statements.len()
    }

    /// Whether it is made of INSERTs of constants, which have no effect but their rows.
    pub(super) fn is_rows(&self) -> bool {
        self.statements.len() > 1 && self.statements[0].kind() != Kind::Begin
    }
}

/// Reads units.
pub(super) struct Units<'s> {
    reader: Reader<'s>,
    ahead: Option<Statement>,
    /// Of the SQL before the statement that is read ahead.
    before: String,
    next: usize,
    /// Whether the file's own BEGIN … COMMIT is one unit.
    blocks: bool,
}

impl<'s> Units<'s> {
    /// From the statement `first` on, counted from 0.
    pub(super) fn from(mut reader: Reader<'s>, first: usize, blocks: bool) -> Result<Self> {
        while reader.count < first && reader.next()?.is_some() {}
        Ok(Self { reader, ahead: None, before: String::new(), next: first, blocks })
    }

    pub(super) fn next(&mut self) -> Result<Option<Unit>> {
        let Some(statement) = self.read()? else { return Ok(None) };
        let mut unit = Unit { first: self.next, statements: vec![statement] };
        if self.blocks && unit.statements[0].kind() == Kind::Begin {
            while let Some(statement) = self.read()? {
                let ends = statement.kind() == Kind::Commit;
                unit.statements.push(statement);
                if ends {
                    break;
                }
            }
        } else if can_be_joined(&unit.statements[0]) {
            let mut size = unit.statements[0].sql.len();
            loop {
                let before = self.reader.digest();
                let Some(statement) = self.read()? else { break };
                size += statement.sql.len();
                if size > MESSAGE || !can_be_joined(&statement) {
                    self.before = hexadecimal(&before.finalize());
                    self.ahead = Some(statement);
                    break;
                }
                unit.statements.push(statement);
            }
        }
        self.next = unit.end();
        Ok(Some(unit))
    }

    /// The checksum of the SQL of the units that were read.
    pub(super) fn checksum(&self) -> String {
        if self.ahead.is_some() { self.before.clone() } else { self.reader.checksum() }
    }

    fn read(&mut self) -> Result<Option<Statement>> {
        match self.ahead.take() {
            Some(statement) => Ok(Some(statement)),
            None => self.reader.next(),
        }
    }
}

fn can_be_joined(statement: &Statement) -> bool {
    statement.mark.is_none() && statement.inserts_constants()
}
