//! `bedplate migrate create`.

use super::target::Where;
use crate::database::migrate;
use crate::error::Result;

pub(super) fn run(place: &Where, name: &str, json: bool) -> Result<()> {
    let path = migrate::create(&place.folder()?, name)?;
    if json {
        println!("{}", serde_json::json!({ "path": path }));
        return Ok(());
    }
    let next = match &place.dir {
        Some(dir) => {
            let dir = dir.display();
            format!(
                "`bedplate migrate --dir {dir}` applies it, `bedplate migrate --dir {dir} redo` proves that it can be reverted"
            )
        }
        None => {
            "the next build compiles it in; then `bedplate migrate` applies it, and `bedplate migrate redo` proves \
                 that it can be reverted"
                .to_owned()
        }
    };
    println!("{}: write up.sql and down.sql; {next}", path.display());
    Ok(())
}
