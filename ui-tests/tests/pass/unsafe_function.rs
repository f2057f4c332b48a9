//! Every way to call an `unsafe fn` is unsafe.
#![deny(unsafe_op_in_unsafe_fn, unused_unsafe)]
use fanfold::parallel;

/// # Safety
/// `index` is in bounds.
#[parallel(kind = "cpu")]
unsafe fn get(numbers: &[u32], index: usize) -> u32 {
    // SAFETY: the caller of this function upholds that `index` is in bounds.
    unsafe { *numbers.get_unchecked(index) }
}

#[test]
fn runs() {
    // SAFETY: the indices are below the length.
    unsafe {
        assert_eq!(get(&[1, 2], 1), 2);
        assert_eq!(get::submit(&[1, 2], 0).join().unwrap(), 1);
        assert_eq!(get::map([(&[1, 2][..], 1)]).collect::<Vec<_>>(), [2]);
        assert_eq!(get::serial(&[3], 0), 3);
    }
}
