use std::rc::Rc;

#[fanfold::parallel(kind = "io")]
fn make() -> Rc<u32> {
    Rc::new(1)
}

fn main() {
    make();
}
