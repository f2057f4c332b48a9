#[fanfold::parallel(kind = "io", timeout = "1000000000h")]
fn hours() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", retries = 1, backoff = "99999999999999999999ns")]
fn digits() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", timeout = "s")]
fn no_digits() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", timeout = "5124095h")]
fn longest() -> Result<(), fanfold::TaskError> {
    Ok(())
}

fn main() {
    let _ = (hours(), digits(), no_digits(), longest());
}
