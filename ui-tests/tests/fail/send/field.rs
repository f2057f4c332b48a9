struct Tree {
    _children: Vec<std::rc::Rc<Tree>>,
}

#[fanfold::parallel(kind = "cpu")]
fn walk(_tree: Tree) {}

fn main() {}
