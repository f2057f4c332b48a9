#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn nothing() -> Vec<u32> {
    vec![]
}

fn main() {}
