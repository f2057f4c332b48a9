//! What worker processes print is seen: their standard output and error are this program's.
//!
//! `cargo run --release -p fanfold-examples --example process_output`

use fanfold::parallel;

#[parallel(kind = "process")]
fn shout(text: String) {
    println!("worker: {}", text.to_uppercase());
}

#[parallel(kind = "process")]
fn complain(text: String) {
    eprintln!("worker: {text}");
}

#[fanfold::main]
fn main() {
    shout("hello".into());
    complain("this goes to standard error".into());
    println!("main: what a worker printed before it returned stands above");
}
