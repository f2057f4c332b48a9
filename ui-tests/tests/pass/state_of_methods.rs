//! Methods of the same name in several types have separate states.
struct One;
struct Other;

impl One {
    #[fanfold::parallel(kind = "io", pool = POOL, init = Vec::new)]
    fn seen(&self, #[worker] seen: &mut Vec<u32>, n: u32) -> Vec<u32> {
        seen.push(n);
        seen.clone()
    }
}

impl Other {
    #[fanfold::parallel(kind = "io", pool = POOL, init = Vec::new)]
    fn seen(&self, #[worker] seen: &mut Vec<u32>, n: u32) -> Vec<u32> {
        seen.push(n);
        seen.clone()
    }
}

static POOL: fanfold::Pool = fanfold::Pool::io("one").threads(1);

#[test]
fn runs() {
    assert_eq!(One.seen(1), [1]);
    assert_eq!(Other.seen(2), [2]);
    assert_eq!(One.seen(3), [1, 3]);
}
