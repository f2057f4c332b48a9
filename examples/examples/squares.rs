//! A `DataFrame` in chunks: 10,000 rows of four integers, squared in four chunks at once.
//!
//! `cargo run -p fanfold-examples --example squares`

use fanfold::prelude::*;
use polars::prelude::*;

/// A usual call: the attribute splits the frame by rows, maps the chunks, and stacks the results.
#[parallel(kind = "cpu", chunks = 4)]
fn squared(frame: DataFrame) -> PolarsResult<DataFrame> {
    println!("a chunk of {} rows", frame.height());
    let columns = frame.columns().iter().map(|column| column * column);
    DataFrame::new(frame.height(), columns.collect::<PolarsResult<_>>()?)
}

fn main() -> PolarsResult<()> {
    let column = |first: i64| (first..first + 10_000).collect::<Vec<_>>();
    let numbers = df!("a" => column(0), "b" => column(10_000), "c" => column(20_000), "d" => column(30_000))?;

    let squares = squared(numbers.clone())?;
    assert_eq!(squares, squared::serial(numbers.clone())?);
    println!("{}", squares.tail(Some(3)));

    // The same without an attribute, as many pieces as suit the frame.
    let again = numbers.par().map(squared::serial)?;
    println!("the same: {}", again == squares);
    Ok(())
}
