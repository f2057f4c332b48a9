#[fanfold::parallel(kind = "cpu", crate = 3)]
fn number() {}

#[fanfold::parallel(kind = "cpu", crate = "not a path")]
fn words() {}

fn main() {
    number();
    words();
}
