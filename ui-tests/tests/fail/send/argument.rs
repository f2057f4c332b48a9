use std::rc::Rc;

#[fanfold::parallel(kind = "cpu")]
fn count(node: Rc<u32>, factor: u32) -> u32 {
    *node * factor
}

fn main() {
    count(Rc::new(1), 2);
    let _ = count::submit(Rc::new(1), 2);
    count::map([(Rc::new(1), 2)]).for_each(drop);
}
