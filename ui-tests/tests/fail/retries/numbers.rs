#[fanfold::parallel(kind = "io", retries = -1)]
fn negative() -> Result<(), String> {
    Ok(())
}

#[fanfold::parallel(kind = "io", retries = "three")]
fn text() -> Result<(), String> {
    Ok(())
}

#[fanfold::parallel(kind = "io", backoff = "1s")]
fn alone() -> Result<(), String> {
    Ok(())
}

fn main() {
    let _ = (negative(), text(), alone());
}
