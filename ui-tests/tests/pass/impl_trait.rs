//! `impl Trait` in argument and result position.
#![deny(unused, clippy::pedantic)]

#[fanfold::parallel(kind = "cpu")]
fn evens(limit: u32) -> impl Iterator<Item = u32> {
    (0..limit).step_by(2)
}

#[fanfold::parallel(kind = "cpu")]
fn words<'a>(text: &'a str, keep: impl Fn(&str) -> bool + Send + Clone) -> impl Iterator<Item = &'a str> {
    text.split(' ').filter(move |word| keep(word))
}

#[fanfold::parallel(kind = "io")]
fn adder(n: u32) -> Box<dyn Fn(u32) -> u32 + Send> {
    Box::new(move |m| n + m)
}

#[test]
fn runs() {
    assert_eq!(evens(5).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(evens::submit(4).join().unwrap().count(), 2);
    let text = String::from("an apple");
    assert_eq!(words(&text, |word| word.len() > 2).collect::<Vec<_>>(), ["apple"]);
    assert_eq!(adder(1)(2), 3);
}
