//! Lifetimes: elided, named, in bounds, behind `for`, and in function types.
struct View<'a>(&'a str);

trait Visit<'a> {
    fn visit(&self, text: &'a str) -> usize;
}

#[fanfold::parallel(kind = "cpu")]
fn left_out(view: View<'_>, more: &[&str]) -> usize {
    view.0.len() + more.len()
}

#[fanfold::parallel(kind = "cpu")]
fn longer<'a, 'b: 'a>(a: &'a str, b: &'b str) -> &'a str {
    if a.len() > b.len() { a } else { b }
}

#[fanfold::parallel(kind = "cpu")]
fn higher(f: impl for<'x> Fn(&'x str) -> &'x str + Send, g: fn(&str) -> usize, text: &str) -> usize {
    g(f(text))
}

#[fanfold::parallel(kind = "cpu")]
fn bounded<T>(visitor: &T, text: &str) -> usize
where
    T: for<'x> Visit<'x> + Sync,
{
    visitor.visit(text)
}

#[fanfold::parallel(kind = "cpu")]
fn object(f: &(dyn Fn(&str) -> usize + Sync), text: &str) -> usize {
    f(text)
}

struct Length;

impl<'a> Visit<'a> for Length {
    fn visit(&self, text: &'a str) -> usize {
        text.len()
    }
}

#[test]
fn runs() {
    let text = String::from("text");
    assert_eq!(left_out(View(&text), &["a"]), 5);
    assert_eq!(longer(&text, "a"), "text");
    assert_eq!(higher(str::trim, str::len, &text), 4);
    assert_eq!(higher::submit(str::trim, str::len, " a").join().unwrap(), 1);
    assert_eq!(bounded(&Length, &text), 4);
    assert_eq!(object(&|text| text.len(), &text), 4);
}
