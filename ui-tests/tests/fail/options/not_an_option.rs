#[fanfold::parallel("cpu")]
fn text() {}

#[fanfold::parallel(cpu)]
fn bare() {}

#[fanfold::parallel(kind = "cpu" chunks = 4)]
fn no_comma(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    text();
    bare();
    no_comma(vec![]);
}
