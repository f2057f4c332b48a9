//! Attributes that are no runtime's leave it `async`.
#[fanfold::main]
#[allow(unused)]
#[rustfmt::skip]
async fn main() {}
