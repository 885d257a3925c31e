//! Migrations and seeds are compiled in: a new file must make a new binary.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=seeds");
}
