//! `bedplate forms check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::ui::table;
use crate::cli::json::Json;
use crate::error::{Error, Result, SchemaViolation};
use crate::forms::{CompileOptions, JsonSchema};
use crate::validation::exact_json;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate forms check contact.json\n  bedplate forms check contact.json good.json bad.json\n  \
    bedplate forms check order.json order-1.json --resource https://example.org/address=address.json\n\n\
    A schema of draft-04, draft-06 or draft-07 says so in $schema, and is translated. Remarks are what the schema says \
    without effect: keywords of other drafts, probable typing errors, keywords at the wrong level.\n\n\
    Exit code 1: the schema is refused; 5: some data are not valid, or cannot be read."
)]
pub(super) struct Args {
    /// The JSON Schema: draft 2020-12, or an older draft that it names
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
    /// Refusal of a schema with remarks
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: Json,
}

/// A document, and what is wrong with it, or why it cannot be read.
type Checked<'a> = (&'a Path, Result<Vec<SchemaViolation>>);

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
    let refused = args.strict && !schema.remarks().is_empty();
    let documents: &[PathBuf] = if refused { &[] } else { &args.data };
    // A document that cannot be read says nothing about the others.
    let checked: Vec<Checked<'_>> =
        documents.iter().map(|file| (file.as_path(), read(file).map(|data| schema.violations(&data)))).collect();
    if args.output.json {
        print_json(args, &schema, bytes, &checked);
    } else {
        if !refused {
            println!("{}: can be published ({bytes} bytes compiled)", args.schema.display());
        }
        print_remarks(&schema);
        checked.iter().for_each(print_document);
    }
    if refused {
        let count = schema.remarks().len();
        let plural = if count == 1 { "" } else { "s" };
        return Err(Error::configuration(format!(
            "{}: {count} remark{plural}, which --strict refuses: mend the schema, or leave --strict out",
            args.schema.display()
        )));
    }
    let wrong = checked.iter().filter(|(_, said)| !said.as_ref().is_ok_and(Vec::is_empty)).count();
    match wrong {
        0 => Ok(()),
        count => Err(Error::Findings { count, advice: "documents that are not valid: mend them, or the schema" }),
    }
}

fn print_json(args: &Args, schema: &JsonSchema, bytes: usize, checked: &[Checked<'_>]) {
    let data = checked.iter().map(|(file, said)| match said {
        Ok(violations) => json!({"file": file, "valid": violations.is_empty(), "violations": violations}),
        Err(error) => json!({"file": file, "valid": false, "violations": [], "error": error.to_string()}),
    });
    let said = json!({"schema": args.schema, "compiledBytes": bytes, "remarks": schema.remarks(),
        "translation": schema.translation(), "data": data.collect::<Vec<_>>()});
    println!("{said}");
}

fn print_remarks(schema: &JsonSchema) {
    for change in schema.translation().iter().flat_map(|translation| &translation.changes) {
        println!("translated: {} {}", change.field, change.message);
    }
    for remark in schema.remarks() {
        println!("remark: {} {}", remark.field, remark.message);
    }
}

fn print_document((file, said): &Checked<'_>) {
    let violations = match said {
        Ok(violations) => violations,
        Err(error) => return println!("{error}"),
    };
    if violations.is_empty() {
        return println!("{}: valid", file.display());
    }
    let plural = if violations.len() == 1 { "" } else { "s" };
    println!("{}: {} violation{plural}", file.display(), violations.len());
    let rows = violations.iter().map(|violation| {
        vec![violation.instance_path.clone(), violation.message.clone(), violation.schema_path.clone()]
    });
    println!("{}", table(&["in the data", "what is wrong", "in the schema"], rows, &[]));
}

fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(Error::io(format!("reading {}", file.display())))?;
    exact_json(&text).map_err(|error| Error::configuration(format!("{}: {error}", file.display())))
}
