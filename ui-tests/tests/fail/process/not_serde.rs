struct Secret(u32);

#[fanfold::parallel(kind = "process")]
fn open(secret: Secret) -> u32 {
    secret.0
}

fn main() {
    open(Secret(1));
}
