#[fanfold::parallel(kind = "cpu", companion = a::b)]
fn path() {}

#[fanfold::parallel(kind = "cpu", companion = "Name")]
fn text() {}

fn main() {
    path();
    text();
}
