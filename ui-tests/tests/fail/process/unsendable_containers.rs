//! Types that can be sent on their own or in another container.
use std::error::Error;
use std::sync::Arc;

use fanfold::parallel;

#[parallel(kind = "process")]
fn parse(text: String) -> Result<u32, Box<dyn Error>> {
    Ok(text.parse()?)
}

#[parallel(kind = "process")]
fn shared(names: Arc<Vec<String>>) -> usize {
    names.len()
}

fn main() {}
