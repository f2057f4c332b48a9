//! Output of worker processes: they share the program's standard output and error.
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
    println!("main: the output of the workers is above");
}
