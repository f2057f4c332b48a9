#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn tally(numbers: &[u32], total: &mut u32) {
    *total += numbers.iter().sum::<u32>();
}

fn main() {}
