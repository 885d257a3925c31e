//! Whether a `schema.rs` is what the diesel CLI prints.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::drift::diff;
use crate::database::programs::program_with_url;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Result};

/// How a `schema.rs` stands to its database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Freshness {
    /// It is what `diesel print-schema` prints.
    Fresh,
    /// It is not.
    Stale {
        /// As lines.
        diff: String,
    },
    /// Nobody looked.
    NotChecked {
        /// Why.
        why: String,
    },
}

#[derive(Deserialize)]
struct DieselConfig {
    print_schema: PrintSchema,
}

#[derive(Deserialize)]
struct PrintSchema {
    file: String,
}

/// Asks the diesel CLI, where it is installed: `config` is its settings' file, beside which `schema.rs` is looked for.
pub(super) fn freshness(config: &Path, url: &DatabaseUrl) -> Result<Freshness> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())));
    let settings: DieselConfig = toml::from_str(&read(config)?)
        .map_err(|error| Error::configuration(format!("{}: {}", config.display(), error.message())))?;
    let schema = config.parent().unwrap_or(Path::new("")).join(&settings.print_schema.file);
    let mut diesel = program_with_url("diesel", url);
    let printed = diesel.arg("--config-file").arg(config).arg("print-schema").output();
    let printed = match printed {
        Ok(printed) if printed.status.success() => String::from_utf8_lossy(&printed.stdout).into_owned(),
        Ok(failed) => {
            let why = String::from_utf8_lossy(&failed.stderr).trim().to_owned();
            return Ok(Freshness::NotChecked { why: format!("the diesel CLI failed: {why}") });
        }
        Err(_) => return Ok(Freshness::NotChecked { why: "the diesel CLI is not installed".into() }),
    };
    let now = read(&schema)?;
    if printed == now {
        return Ok(Freshness::Fresh);
    }
    Ok(Freshness::Stale { diff: diff(&settings.print_schema.file, &printed, &now) })
}
