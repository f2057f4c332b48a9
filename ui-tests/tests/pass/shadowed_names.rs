//! The user's names do not shadow those of the generated code, and the other way round.
#![allow(dead_code, non_camel_case_types)]

struct Result;
struct Option;
struct Vec;
struct Task;
struct Map;
enum str {}
trait Clone {}
trait Send {}
mod std {}
mod core {}
mod __f {}

#[fanfold::parallel(kind = "cpu", chunks = 2)]
fn total(numbers: &[u32], site: u32, pool: u32) -> ::std::vec::Vec<u32> {
    numbers.iter().map(|n| n + site + pool).collect()
}

#[test]
fn runs() {
    assert_eq!(total(&[1, 2], 10, 100), [111, 112]);
    assert_eq!(total::submit(&[1, 2], 10, 100).join().unwrap(), [111, 112]);
}
