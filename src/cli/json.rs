//! `--json`, the same for every command that has it.

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Json {
    /// Output as JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

/// Of commands that show events.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct JsonLines {
    /// Output as JSON, one event a line, for programs
    #[arg(long)]
    pub(super) json: bool,
}
