#[fanfold::parallel(kind = cpu)]
fn word() {}

#[fanfold::parallel(kind = "CPU")]
fn capitals() {}

#[fanfold::parallel("cpu")]
fn positional() {}

fn main() {
    word();
    capitals();
    positional();
}
