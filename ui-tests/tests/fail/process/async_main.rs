//! Attributes other than a runtime's leave `main` async.
#[fanfold::main]
#[allow(unused)]
#[rustfmt::skip]
async fn main() {}
