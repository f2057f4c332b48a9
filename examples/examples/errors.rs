//! Errors and panics of annotated functions, for every kind of call.
//!
//! `cargo run -p fanfold-examples --example errors`

use std::num::ParseIntError;
use std::panic;

use fanfold::{TaskError, as_completed, parallel};

#[parallel(kind = "cpu")]
fn share(cakes: u32, people: u32) -> u32 {
    assert!(people > 0, "no people to share {cakes} cakes");
    cakes / people
}

#[parallel(kind = "cpu")]
fn parse(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}

fn main() {
    // Panics are reported on standard error as usual. This program switches the reports off, because it panics on
    // purpose. It does so before the first call: Fanfold then adds a hook of its own, which records the locations.
    panic::set_hook(Box::new(|_| ()));

    println!("A panic");
    let caught = panic::catch_unwind(|| share(12, 0)); // the panic continues in the caller
    println!("  direct call        {}", describe(caught));
    match share::submit(12, 0).join() {
        Ok(cakes) => println!("  join               {cakes}"),
        Err(TaskError::Panicked { message, function, location, .. }) => {
            println!("  join               Panicked");
            println!("    message          {message}");
            println!("    function         {function}");
            println!("    location         {}", location.as_deref().unwrap_or("unknown"));
        }
        Err(other) => println!("  join               {other}"),
    }
    let caught = panic::catch_unwind(|| share::map([(12, 4), (12, 0), (12, 3)]).sum::<u32>());
    println!("  map                {}", describe(caught));
    println!("  as_completed");
    let tasks = [(12, 4), (12, 0), (12, 3)].map(|(cakes, people)| share::submit(cakes, people));
    let mut outcomes: Vec<_> = as_completed(tasks).collect();
    outcomes.sort_by_key(|(index, _)| *index);
    for (index, outcome) in outcomes {
        println!("    task {index}           {}", if outcome.is_ok() { "returned" } else { "panicked" });
    }

    println!("\nAn error");
    println!("  direct call        {:?}", parse("many"));
    println!("  join               {:?}", parse::submit("many").join().map_err(|error| error.to_string()));
    println!("  Vec<Result>        {:?}", parse::map(["1", "2", "many"]).collect::<Vec<_>>());
    println!("  Result<Vec>        {:?}", parse::map(["1", "few", "many"]).collect::<Result<Vec<_>, _>>());
    println!("  Result<Vec>        {:?}", parse::map(["1", "2", "3"]).collect::<Result<Vec<_>, _>>());

    println!("\nThe workers still work: share(12, 3) = {}", share(12, 3));
}

fn describe(caught: std::thread::Result<u32>) -> String {
    match caught {
        Ok(cakes) => format!("returned {cakes}"),
        Err(payload) => format!("panicked: {}", payload.downcast_ref::<String>().map_or("?", String::as_str)),
    }
}
