use std::rc::Rc;

#[fanfold::parallel(kind = "cpu", companion = none)]
fn total(numbers: Rc<Vec<u32>>) -> u32 {
    numbers.iter().sum()
}

fn main() {
    total(Rc::new(vec![]));
}
