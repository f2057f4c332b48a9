#[fanfold::parallel(kind = "cpu", chunk = 4)]
fn near(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "cpu", color = "red")]
fn far(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "io", max_workers = 4, retry = 3)]
fn as_elsewhere(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    near(vec![]);
    as_elsewhere(vec![]);
    let _ = far::map([vec![1]]).collect::<Vec<_>>();
}
