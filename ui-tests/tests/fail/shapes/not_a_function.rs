#[fanfold::parallel(kind = "cpu")]
struct Config {
    threads: usize,
}

#[fanfold::parallel(kind = "cpu")]
const LIMIT: usize = 3;

fn main() {
    let config = Config { threads: LIMIT };
    let _ = config.threads;
}
