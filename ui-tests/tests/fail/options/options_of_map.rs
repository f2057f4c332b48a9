#[fanfold::parallel(kind = "io", buffer = 100)]
fn buffered(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "io", unordered, on = POOL)]
fn as_they_come(n: u32) -> u32 {
    n
}

fn main() {
    buffered(1);
    as_they_come(1);
}
