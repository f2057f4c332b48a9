//! Functions that return `impl Trait`.

use std::fmt::Display;

use fanfold::parallel;

#[parallel(kind = "cpu")]
fn evens(limit: u32) -> impl Iterator<Item = u32> {
    (0..limit).step_by(2)
}

#[parallel(kind = "cpu")]
fn words<'a>(text: &'a str, with: impl Fn(&'a str) -> bool + Send + 'a) -> impl Iterator<Item = &'a str> {
    text.split(' ').filter(move |word| with(word))
}

#[parallel(kind = "io", retries = 1)]
fn shown<T: Display + Clone + Send>(value: T) -> Result<impl Display, String> {
    let shown = value.to_string();
    if shown.is_empty() { Err(String::from("nothing to show")) } else { Ok(format!("<{shown}>")) }
}

struct Tree(Vec<u32>);

impl Tree {
    #[parallel(kind = "cpu")]
    fn leaves(&self) -> impl Iterator<Item = &u32> {
        self.0.iter()
    }

    #[parallel(kind = "cpu")]
    fn grown(self, by: u32) -> impl FnOnce() -> Vec<u32> {
        move || self.0.into_iter().map(|n| n + by).collect()
    }
}

#[parallel(kind = "cpu", chunks = 2)]
fn checked(numbers: Vec<u32>) -> Result<Vec<u32>, impl Display + std::fmt::Debug> {
    if numbers.contains(&13) { Err("thirteen") } else { Ok(numbers) }
}

#[test]
fn an_opaque_result_is_returned_from_every_call() {
    assert_eq!(evens(5).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(evens::serial(3).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(evens::submit(6).join().expect("no panic").sum::<u32>(), 6);
    let all: Vec<_> = evens::map([2, 4]).collect();
    assert_eq!(all.into_iter().flatten().collect::<Vec<_>>(), [0, 0, 2]);
}

#[test]
fn an_opaque_result_may_borrow_from_the_arguments() {
    let text = String::from("an apple a day");
    assert_eq!(words(&text, |word| word.len() > 1).collect::<Vec<_>>(), ["an", "apple", "day"]);
    assert_eq!(words::submit("a bc", |word| word.len() > 1).join().expect("no panic").count(), 1);
    let tree = Tree(vec![1, 2]);
    assert_eq!(tree.leaves().sum::<u32>(), 3);
    assert_eq!(Tree::leaves_map([&tree, &tree]).collect::<Vec<_>>().into_iter().flatten().count(), 4);
    assert_eq!(tree.grown(1)(), [2, 3]);
    assert_eq!(Tree(vec![5]).grown_submit(2).join().expect("no panic")(), [7]);
}

#[test]
fn an_opaque_type_may_be_nested_and_its_function_retried() {
    assert_eq!(shown(5).map(|shown| shown.to_string()), Ok("<5>".to_owned()));
    assert_eq!(shown::submit('x').join().expect("no panic").map(|shown| shown.to_string()), Ok("<x>".to_owned()));
    assert_eq!(checked((0..5).collect()).expect("no thirteen"), [0, 1, 2, 3, 4]);
    assert_eq!(checked((0..20).collect()).expect_err("a thirteen").to_string(), "thirteen");
}
