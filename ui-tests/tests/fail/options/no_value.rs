#[fanfold::parallel(kind)]
fn bare() {}

#[fanfold::parallel(kind =)]
fn empty() {}

#[fanfold::parallel(kind = "cpu" chunks = 2)]
fn no_comma(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    bare();
    empty();
    no_comma(vec![]);
}
