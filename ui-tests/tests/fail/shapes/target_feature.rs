#[fanfold::parallel(kind = "cpu")]
#[target_feature(enable = "avx2")]
fn twice(n: i32) -> i32 {
    n * 2
}

fn main() {}
