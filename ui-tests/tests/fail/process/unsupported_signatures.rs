use fanfold::parallel;

#[parallel(kind = "process")]
fn generic<T>(value: T) -> T {
    value
}

#[parallel(kind = "process")]
fn borrows(text: &str) -> usize {
    text.len()
}

#[parallel(kind = "process")]
fn opaque(numbers: impl Iterator<Item = u32>) -> u32 {
    numbers.sum()
}

#[parallel(kind = "process")]
fn lends() -> &'static str {
    "text"
}

#[parallel(kind = "process")]
fn complains(text: Option<&'static str>) -> Result<u32, &'static str> {
    text.map_or(Err("no text"), |text| Ok(text.len() as u32))
}

#[parallel(kind = "process")]
async fn later(n: u32) -> u32 {
    n
}

fn main() {}
