//! The command line: see `bedplate --help`.

fn main() -> std::process::ExitCode {
    bedplate::cli::bedplate()
}
