//! A future's output is checked, also if its type has no name.
use std::rc::Rc;

#[fanfold::parallel(kind = "io")]
async fn words(text: String) -> impl Iterator<Item = char> {
    let text = Rc::new(text);
    (0..text.len()).map(move |at| text.as_bytes()[at] as char)
}

fn main() {
    drop(words(String::new()));
}
