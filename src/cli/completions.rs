//! `bedplate completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &Args) {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "bedplate", &mut std::io::stdout());
}
