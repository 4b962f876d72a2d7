//! The project's one door: `cargo xtask demo | test | bench | mutants`.
fn main() {}
