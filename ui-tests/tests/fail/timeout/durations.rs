#[fanfold::parallel(kind = "io", timeout = 5)]
fn number() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", timeout = "5 parsecs")]
fn unit() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", timeout = "0s")]
fn zero() -> Result<(), fanfold::TaskError> {
    Ok(())
}

fn main() {
    let _ = (number(), unit(), zero());
}
