use fanfold::parallel;

#[parallel(kind = "process")]
fn squares(numbers: Vec<u32>) -> impl Iterator<Item = u32> {
    numbers.into_iter().map(|n| n * n)
}

#[parallel(kind = "process")]
fn parts(number: f64) -> Result<(impl Copy, f64), String> {
    Ok((number.floor(), number.fract()))
}

fn main() {
    squares(vec![1]).for_each(drop);
    let _ = squares::submit(vec![1]).join();
    let _ = squares::map([vec![1]]).collect::<Vec<_>>();
    let _ = parts(1.5);
}
