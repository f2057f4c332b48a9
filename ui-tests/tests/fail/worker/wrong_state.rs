fn open() -> String {
    String::new()
}

#[fanfold::parallel(kind = "io", init = open)]
fn push(c: char, #[worker] state: &mut Vec<char>) {
    state.push(c);
}

fn main() {
    push('a');
}
