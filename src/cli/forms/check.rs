//! `bedplate forms check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::ui::table;
use crate::cli::json::Json;
use crate::error::{Error, Result};
use crate::forms::{CompileOptions, JsonSchema};
use crate::validation::exact_json;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate forms check contact.json\n  bedplate forms check contact.json good.json bad.json\n  \
    bedplate forms check order.json order-1.json --resource https://example.org/address=address.json\n\n\
    Exit code 1: the schema is refused; 5: some data are not valid."
)]
pub(super) struct Args {
    /// The JSON Schema, draft 2020-12
    #[arg(value_name = "SCHEMA.json")]
    schema: PathBuf,
    /// Documents to check against it
    #[arg(value_name = "DATA.json")]
    data: Vec<PathBuf>,
    /// A schema that the schema refers to; may be given again
    #[arg(long = "resource", value_name = "URI=FILE", value_parser = resource)]
    resources: Vec<(String, PathBuf)>,
    /// The keyword `format` as an assertion
    #[arg(long)]
    assert_formats: bool,
    #[command(flatten)]
    output: Json,
}

fn resource(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let (uri, file) = text.rsplit_once('=').ok_or("a URI, =, and a file")?;
    Ok((uri.to_owned(), file.into()))
}

pub(super) fn run(args: &Args) -> Result<()> {
    let definition = read(&args.schema)?;
    let resources = args.resources.iter().map(|(uri, file)| Ok((uri.clone(), read(file)?)));
    let resources = resources.collect::<Result<BTreeMap<_, _>>>()?;
    let options = CompileOptions { assert_formats: args.assert_formats };
    let schema = JsonSchema::compile(&definition, &resources, options)?;
    let bytes = schema.bodies("v")?.iter().map(String::len).sum::<usize>();
    let documents = args.data.iter().map(|file| Ok((file, read(file)?))).collect::<Result<Vec<_>>>()?;
    let checked: Vec<_> = documents.iter().map(|(file, data)| (*file, schema.violations(data))).collect();
    let invalid = checked.iter().filter(|(_, violations)| !violations.is_empty()).count();
    if args.output.json {
        let each = checked
            .iter()
            .map(|(file, violations)| json!({"file": file, "valid": violations.is_empty(), "violations": violations}));
        println!("{}", json!({"schema": args.schema, "compiledBytes": bytes, "data": each.collect::<Vec<_>>()}));
    } else {
        println!("{}: can be published ({bytes} bytes compiled)", args.schema.display());
        for (file, violations) in &checked {
            if violations.is_empty() {
                println!("{}: valid", file.display());
                continue;
            }
            let plural = if violations.len() == 1 { "" } else { "s" };
            println!("{}: {} violation{plural}", file.display(), violations.len());
            let rows = violations.iter().map(|violation| {
                vec![violation.instance_path.clone(), violation.message.clone(), violation.schema_path.clone()]
            });
            let table = table(&["in the data", "what is wrong", "in the schema"], rows, &[]);
            println!("{table}");
        }
    }
    match invalid {
        0 => Ok(()),
        count => Err(Error::Findings { count, advice: "documents that are not valid: mend them, or the schema" }),
    }
}

fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
    exact_json(&text).map_err(|error| Error::configuration(format!("{}: {error}", file.display())))
}
