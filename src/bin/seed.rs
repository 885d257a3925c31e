//! The seeding binary: `bedplate seed` under a name of its own, for images that only seed.

fn main() -> std::process::ExitCode {
    bedplate::cli::seed()
}
