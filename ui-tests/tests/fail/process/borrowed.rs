#[fanfold::parallel(kind = "process")]
fn length(text: &str) -> usize {
    text.len()
}

#[fanfold::parallel(kind = "process")]
fn generic<T: Send>(value: T) -> T {
    value
}

#[fanfold::parallel(kind = "process")]
fn apply(f: impl Fn(u32) -> u32) -> u32 {
    f(1)
}

#[fanfold::parallel(kind = "process")]
async fn later() {}

fn main() {
    length("");
    generic(1);
    apply(|n| n);
    drop(later());
}
