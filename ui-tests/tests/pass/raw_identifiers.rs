//! Raw identifiers.
#[fanfold::parallel(kind = "cpu")]
fn r#match(r#type: u32, r#fn: u32) -> u32 {
    r#type + r#fn
}

struct Lock;

impl Lock {
    #[fanfold::parallel(kind = "cpu")]
    fn r#move(&self, r#in: u32) -> u32 {
        r#in
    }
}

#[test]
fn runs() {
    assert_eq!(r#match(1, 2), 3);
    assert_eq!(r#match::submit(1, 2).join().unwrap(), 3);
    assert_eq!(Lock.r#move(1), 1);
    assert_eq!(Lock.move_serial(1), 1);
    assert_eq!(Lock.move_map([1, 2]).collect::<Vec<_>>(), [1, 2]);
}
