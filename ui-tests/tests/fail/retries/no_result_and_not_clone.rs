struct Once;

#[fanfold::parallel(kind = "io", retries = 2)]
fn no_result(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "io", retries = 2)]
fn not_clone(once: Once) -> Result<(), String> {
    let Once = once;
    Ok(())
}

fn main() {}
