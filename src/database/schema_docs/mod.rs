//! Documentation from the catalogue: a page, a picture and a Mermaid diagram of what a database really holds.
//!
//! Always holds: the same catalogue gives the same bytes, on PostgreSQL 15 to 18, whatever the owner is called
//! (it is shown as `owner`) and whichever partitions there are; what is shown is never a row. The words come from
//! `COMMENT ON`.
//!
//! ```rust,no_run
//! # async fn example(url: bedplate::DatabaseUrl) -> bedplate::Result<()> {
//! use bedplate::database::schema_docs;
//!
//! let main = schema_docs::read(&url).await?;
//! for file in schema_docs::render(&[("main", &main)]) {
//!     println!("{}: {} bytes", file.path, file.content.len());
//! }
//! # Ok(())
//! # }
//! ```

mod catalogue;
mod domains;
mod layout;
mod markdown;
mod mermaid;
mod read;
mod route;
mod svg;
#[cfg(test)]
mod tests;

pub use catalogue::{Column, Constraint, ConstraintKind, Function, Grant, Index, Policy, Schema, Table, Trigger};
pub use domains::domain;
pub use read::read;
pub use svg::Detail;

/// A file of the documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it belongs, below the folder of the documentation: `schema/main.md`.
    pub path: String,
    /// All of it, with a line feed at its end.
    pub content: String,
}

/// Every file of the documentation of these databases, each with its name: the index `schema.md`, and for each
/// database `schema/<name>.md` with its picture `<name>.svg` and a small one, `<name>-overview.svg`.
#[must_use]
pub fn render(databases: &[(&str, &Schema)]) -> Vec<File> {
    let mut files = vec![File { path: "schema.md".into(), content: markdown::index(databases) }];
    for (name, schema) in databases {
        let file = |ending: &str, content| File { path: format!("schema/{name}{ending}"), content };
        files.push(file(".md", schema.markdown(name)));
        files.push(file(".svg", schema.svg(name, Detail::Columns)));
        files.push(file("-overview.svg", schema.svg(name, Detail::Keys)));
    }
    files
}
