#[fanfold::parallel(kind = "cpu")]
fn length(text: &str) -> usize {
    text.len()
}

fn main() {
    let text = String::from("short-lived");
    let _ = length::submit(&text);
}
