#[fanfold::parallel(kind = "cpu", kind = "cpu")]
fn twice() {}

fn main() {
    twice();
}
