struct Config;

#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn run(config: Config) -> Vec<u32> {
    let Config = config;
    vec![]
}

fn main() {
    run(Config);
}
