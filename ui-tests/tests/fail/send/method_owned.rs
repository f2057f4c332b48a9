use std::rc::Rc;

struct Tree(Rc<u32>);

impl Tree {
    #[fanfold::parallel(kind = "io")]
    fn total(self) -> u32 {
        *self.0
    }
}

fn main() {
    Tree(Rc::new(1)).total();
}
