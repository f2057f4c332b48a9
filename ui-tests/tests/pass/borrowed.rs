//! Direct calls and maps with borrowed arguments.
use fanfold::parallel;

#[parallel(kind = "cpu")]
fn first<'a, 'b: 'a>(words: &'a [&'b str], _separator: &str) -> &'b str {
    words[0]
}

#[parallel(kind = "cpu")]
fn push(list: &mut Vec<u32>, n: u32) {
    list.push(n);
}

#[parallel(kind = "cpu")]
fn length(word: &str) -> usize {
    word.len()
}

#[test]
fn runs() {
    let owned = String::from("word");
    let words = [owned.as_str()];
    assert_eq!(first(&words, &String::new()), "word");
    let mut list = vec![1];
    push(&mut list, 2);
    assert_eq!(list, [1, 2]);
    let mut lists = vec![vec![], vec![0]];
    push::map(lists.iter_mut().zip(5..)).for_each(drop);
    assert_eq!(lists, [vec![5], vec![0, 6]]);
    let words = vec![owned.clone(), owned];
    assert_eq!(length::map(words.iter().map(|w| w.as_str())).collect::<Vec<_>>(), [4, 4]);
    assert_eq!(length::submit("static").join().unwrap(), 6);
}
