struct View<'a>(&'a str);

#[fanfold::parallel(kind = "cpu")]
fn length(view: View) -> usize {
    view.0.len()
}

fn main() {
    length(View(""));
}
