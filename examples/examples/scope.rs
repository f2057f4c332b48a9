//! `scope`: tasks that borrow from the caller, because the scope waits for all of them.
//!
//! `cargo run -p fanfold-examples --example scope`

use std::error::Error;

use fanfold::{Pool, TaskError};

fn main() -> Result<(), Box<dyn Error>> {
    let text = "one fish two fish red fish blue fish".to_owned();
    let mut numbers: Vec<u32> = (1..=8).collect();
    let (left, right) = numbers.split_at_mut(4);

    let (words, longest) = fanfold::scope(|s| {
        // Two tasks change one half of the vector each.
        s.submit(|| left.iter_mut().for_each(|n| *n *= 10));
        s.submit(|| right.iter_mut().for_each(|n| *n *= 100));
        // Two tasks read the string at once; the second runs on the io pool.
        let words = s.submit(|| text.split(' ').count());
        let longest = s.submit_on(Pool::io_default(), || text.split(' ').max_by_key(|word| word.len()));
        Ok::<_, TaskError>((words.join()?, longest.join()?))
    })?;

    // All tasks have ended, so the borrows have ended too.
    println!("text     {text:?}");
    println!("words    {words}");
    println!("longest  {}", longest.ok_or("there are no words")?);
    println!("numbers  {numbers:?}");
    Ok(())
}
