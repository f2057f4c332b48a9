#[fanfold::parallel(kind = "io", timeout = "1s")]
fn plain(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "io", timeout = "1s")]
fn no_place(n: u32) -> Result<u32, std::fmt::Error> {
    Ok(n)
}

fn main() {}
