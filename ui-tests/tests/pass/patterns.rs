//! Arguments with patterns.
#![deny(unused)]

struct Point {
    x: i32,
    y: i32,
}

#[fanfold::parallel(kind = "cpu")]
fn sum((a, b): (i32, i32), Point { x, y }: Point, mut rest: Vec<i32>, _: &str, [first, ..]: [i32; 2]) -> i32 {
    rest.push(a + b + x + y + first);
    rest.iter().sum()
}

#[fanfold::parallel(kind = "cpu", companion = none)]
fn alone((a, b): (i32, i32), mut c: i32) -> i32 {
    c += a + b;
    c
}

#[test]
fn runs() {
    assert_eq!(sum((1, 2), Point { x: 3, y: 4 }, vec![5], "", [6, 7]), 21);
    assert_eq!(sum::submit((1, 2), Point { x: 3, y: 4 }, vec![5], "", [6, 7]).join().unwrap(), 21);
    assert_eq!(alone((1, 2), 3), 6);
}
