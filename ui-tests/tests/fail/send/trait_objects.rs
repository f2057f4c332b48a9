use std::error::Error;

use fanfold::parallel;

#[parallel(kind = "cpu")]
fn parse(text: &str) -> Result<u32, Box<dyn Error>> {
    Ok(text.parse()?)
}

#[parallel(kind = "io")]
fn run(jobs: Vec<Box<dyn Fn() -> u32>>) -> u32 {
    jobs.iter().map(|job| job()).sum()
}

#[parallel(kind = "cpu")]
fn apply(job: &dyn Fn() -> u32) -> u32 {
    job()
}

trait Job: Send + Sync {}

#[parallel(kind = "cpu")]
fn start(job: Box<dyn Job>, error: Box<dyn Error + Send + Sync>) {
    drop((job, error));
}

fn main() {
    parse("1").unwrap();
    run(vec![]);
    apply(&|| 1);
}
