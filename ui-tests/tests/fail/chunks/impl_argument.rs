#[fanfold::parallel(kind = "cpu", chunks = 2)]
fn lengths(words: impl fanfold::Split + AsRef<[String]> + Send) -> Vec<usize> {
    words.as_ref().iter().map(String::len).collect()
}

fn main() {
    lengths(vec![]);
}
