#[fanfold::parallel(kind = "cpus")]
fn one() {}

#[fanfold::parallel(kind = "gpu")]
fn two() {}

#[fanfold::parallel(kind = cpu)]
fn three() {}

fn main() {
    one();
    two::submit();
    three::serial();
}
