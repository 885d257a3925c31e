//! `bedplate completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bedplate completions bash > ~/.local/share/bash-completion/completions/bedplate\n  \
    bedplate completions fish > ~/.config/fish/completions/bedplate.fish"
)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) {
    // Not straight to standard output: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "bedplate", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}
