//! Dropping many of the user's values: one whose destructor panics does not keep the others from being dropped.
//!
//! The standard library drops the rest of a vector after one panic too, but ends the program at a second one, and at the
//! first where the vector is dropped by a panic.

use std::any::Any;
use std::mem::{needs_drop, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::unwind;

/// Drops values one by one.
#[derive(Default)]
pub(crate) struct Drops {
    first_panic: Option<Box<dyn Any + Send>>,
}

impl Drops {
    /// Drops what `one` drops.
    pub(crate) fn each(&mut self, one: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(one)) {
            match &self.first_panic {
                None => self.first_panic = Some(payload),
                Some(_) => unwind::discard(payload),
            }
        }
    }

    /// Goes on with the first panic, unless this thread unwinds with another already.
    pub(crate) fn end(self) {
        match self.first_panic {
            Some(payload) if std::thread::panicking() => unwind::discard(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }
}

/// Drops all that an iterator gives.
pub(crate) fn drop_all(values: impl Iterator) {
    drop(Rest(values));
}

/// Values that are given one by one; the rest is dropped with it.
pub(crate) struct Rest<I: Iterator>(pub(crate) I);

impl<I: Iterator> Drop for Rest<I> {
    #[inline]
    fn drop(&mut self) {
        if needs_drop::<I::Item>()
            && let Some(first) = self.0.next()
        {
            let mut drops = Drops::default();
            drops.each(|| drop(first));
            for value in &mut self.0 {
                drops.each(|| drop(value));
            }
            drops.end();
        }
    }
}

/// A vector whose values are all dropped with it.
pub(crate) struct Kept<T>(pub(crate) Vec<T>);

impl<T> Kept<T> {
    pub(crate) fn into_vec(mut self) -> Vec<T> {
        take(&mut self.0)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if needs_drop::<T>() {
            drop_all(take(&mut self.0).into_iter());
        }
    }
}
