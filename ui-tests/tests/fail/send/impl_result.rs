use std::rc::Rc;

#[fanfold::parallel(kind = "cpu")]
fn words(text: String) -> impl Iterator<Item = char> {
    let text = Rc::new(text);
    (0..text.len()).map(move |at| text.as_bytes()[at] as char)
}

fn main() {
    words(String::new()).for_each(drop);
}
