//! State that processes share: a counter, a flag that stops them, and a table behind a lock.
//!
//! `cargo run --release -p fanfold-examples --example shared_state`

use std::collections::BTreeMap;
use std::error::Error;

use fanfold::shared::{Counter, Flag, Mutex};
use fanfold::{TaskError, parallel};

/// Looks for numbers with many divisors until `enough` is set, and notes the best for each number of divisors.
#[parallel(kind = "process")]
fn search(first: u64, step: u64, tried: Counter, enough: Flag, best: Mutex<BTreeMap<u64, u64>>) -> Result<u64, String> {
    let mut found = 0;
    for n in (first..).step_by(usize::try_from(step).unwrap_or(1)) {
        if enough.is_set() {
            return Ok(found);
        }
        let divisors = (1..=n).filter(|divisor| n % divisor == 0).count() as u64;
        if divisors > 20 {
            let mut best = best.lock().map_err(|error| error.to_string())?;
            let least = best.entry(divisors).or_insert(n);
            *least = n.min(*least);
            found += 1;
        }
        if tried.add(1) >= 20_000 {
            enough.set();
        }
    }
    unreachable!("the numbers do not end before the flag is set")
}

#[fanfold::main]
fn main() -> Result<(), Box<dyn Error>> {
    let (tried, enough, best) = (Counter::new(0), Flag::new(), Mutex::new(BTreeMap::new()));
    // Clones are the same counter, flag and table, in this process and in the workers.
    let searches = [1, 2].map(|first| search::submit(first, 2, tried.clone(), enough.clone(), best.clone()));
    let mut found = 0;
    for result in fanfold::join_all(searches)? {
        found += result?;
    }
    println!("{} numbers tried by two processes, {found} with more than 20 divisors", tried.get());
    let best = best.lock().map_err(|_| TaskError::Cancelled)?;
    for (divisors, number) in best.iter().take(3) {
        println!("{divisors} divisors: {number}");
    }
    Ok(())
}
