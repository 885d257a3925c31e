//! Folders in the format of the official test suite (<https://github.com/json-schema-org/JSON-Schema-Test-Suite>):
//! files of groups, each a schema with documents and what is to be said of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json_schema::{CompileOptions, JsonSchema};
use super::trial;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::validation::exact_json;

/// Documents that the official suite refers to, for where they are not beside it.
static REMOTES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/tests/json-schema/remotes");

/// Where the suite's own documents say that they are served.
const SERVED_AT: &str = "http://localhost:1234/";

#[derive(Debug, Deserialize)]
struct Group {
    description: String,
    schema: Box<RawValue>,
    tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    description: String,
    data: Box<RawValue>,
    valid: bool,
}

/// How many cases a validator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Score {
    /// As the suite has it.
    pub right: usize,
    /// Not at all: the schema was refused, or the document cannot be stored.
    pub refused: usize,
    /// The other way.
    pub wrong: usize,
}

/// What became of a suite.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// By validator: compiled, interpreted, rust.
    pub scores: BTreeMap<&'static str, Score>,
    /// Groups whose schema was refused, with the reason.
    pub refused: Vec<String>,
    /// Cases that a validator decided wrongly, and cases whose lists of violations differ.
    pub wrong: Vec<String>,
}

/// Runs all files of a folder, and of those inside of it other than `optional`.
///
/// Schemas that the cases refer to are looked for in `remotes`, or else in a folder `remotes` in the folder, beside it
/// or above it, or else among those of the official suite that are built in.
///
/// # Errors
/// [`Error::Io`] and [`Error::Configuration`] for files that cannot be read, or where there are none; those of the
/// database.
pub async fn run(
    db: &Database,
    folder: &Path,
    remotes: Option<&Path>,
    mut on_file: impl FnMut(&Path),
) -> Result<Report> {
    let near = folder.ancestors().take(4).map(|folder| folder.join("remotes")).find(|folder| folder.is_dir());
    let remotes = remotes.map(Path::to_owned).or(near);
    let find = |uri: &str| -> Option<Value> {
        let path = uri.strip_prefix(SERVED_AT).filter(|path| !path.contains(".."))?;
        match remotes.as_ref().and_then(|remotes| std::fs::read_to_string(remotes.join(path)).ok()) {
            Some(text) => serde_json::from_str(&text).ok(),
            None => serde_json::from_str(REMOTES.get_file(path)?.contents_utf8()?).ok(),
        }
    };
    let files = files(folder)?;
    if files.is_empty() {
        return Err(Error::configuration(format!("{}: there are no .json files", folder.display())));
    }
    let mut report = Report::default();
    for file in files {
        on_file(&file);
        let text = std::fs::read_to_string(&file).map_err(Error::io(format!("reading {}", file.display())))?;
        let groups: Vec<Group> = serde_json::from_str(&text)
            .map_err(|error| Error::configuration(format!("{} is no file of a suite: {error}", file.display())))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for group in groups {
            report.group(db, &name, &group, &find).await?;
        }
    }
    Ok(report)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(Error::io(format!("reading {}", folder.display())))?;
    for entry in entries {
        let path = entry.map_err(Error::io(format!("reading {}", folder.display())))?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name != "optional" && name != "remotes" {
                found.extend(files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Report {
    async fn group(
        &mut self,
        db: &Database,
        file: &str,
        group: &Group,
        find: impl Fn(&str) -> Option<Value>,
    ) -> Result<()> {
        let name = format!("{file}: {}", group.description);
        let tried = async {
            let schema = exact_json(group.schema.get())?;
            let documents = group.tests.iter().map(|case| exact_json(case.data.get())).collect::<Result<Vec<_>>>()?;
            trial::run(db, &JsonSchema::compile_with(&schema, find, CompileOptions::default())?, &documents).await
        };
        let trials = match tried.await {
            Ok(trials) => trials,
            Err(error @ Error::Invalid { .. }) => {
                self.refused.push(format!("{name}: {error}"));
                for validator in ["compiled", "interpreted", "rust"] {
                    self.scores.entry(validator).or_default().refused += group.tests.len();
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (case, trial) in group.tests.iter().zip(trials) {
            let name = format!("{name}: {}", case.description);
            let verdicts = [
                ("compiled", trial.compiled),
                ("interpreted", trial.interpreted.is_empty()),
                ("rust", trial.rust.is_empty()),
            ];
            for (validator, verdict) in verdicts {
                let score = self.scores.entry(validator).or_default();
                if verdict == case.valid {
                    score.right += 1;
                } else {
                    score.wrong += 1;
                    self.wrong.push(format!("{name}: {validator} says {verdict}"));
                }
            }
            if trial.interpreted != trial.rust {
                let lists = format!("{:?} and {:?}", trial.interpreted, trial.rust);
                self.wrong.push(format!("{name}: the lists differ: {lists}"));
            }
        }
        Ok(())
    }
}
