//! What a map can be collected into.
use std::collections::{BTreeMap, HashSet};

#[fanfold::parallel(kind = "cpu")]
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[fanfold::parallel(kind = "cpu")]
fn pair(n: u32) -> (u32, String) {
    (n, n.to_string())
}

#[test]
fn runs() {
    let all: Vec<Result<u32, _>> = parse::map(["1", "x"]).collect();
    assert!(all[0].is_ok() && all[1].is_err());
    assert!(parse::map(["1", "x"]).collect::<Result<Vec<_>, _>>().is_err());
    assert_eq!(parse::map(["1", "2"]).collect::<Result<HashSet<_>, _>>(), Ok(HashSet::from([1, 2])));
    assert_eq!(pair::map(0..2).collect::<BTreeMap<_, _>>()[&1], "1");
}
