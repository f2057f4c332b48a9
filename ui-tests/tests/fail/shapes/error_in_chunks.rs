#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn scale(numbers: &[f64], factor: f64) -> Vec<f64> {
    numbers.iter().map(|n| n * factor.unwrap()).collect()
}

#[fanfold::parallel(kind = "cpu")]
fn generic<T: Send>(value: T) -> T {
    value.clone()
}

#[fanfold::parallel(kind = "cpu", companion = none)]
fn alone(n: u32) -> u32 {
    n + "1"
}

#[fanfold::parallel(kind = "io")]
async fn later(n: u32) -> u32 {
    n.await
}

fn main() {}
