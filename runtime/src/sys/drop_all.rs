//! Drops many of the user's values, all of them even if some destructors panic.
//!
//! The standard library also drops the rest of a vector after a panic. But it aborts at a second panic, and at the
//! first if the vector is dropped while the thread unwinds.

use std::any::Any;
use std::mem::{needs_drop, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::unwind;

/// Drops of several values, of which the first panic is kept.
#[derive(Default)]
pub struct DropSequence {
    first_panic: Option<Box<dyn Any + Send>>,
}

impl DropSequence {
    /// Runs one drop.
    pub(crate) fn run(&mut self, drop_one: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(drop_one)) {
            match &self.first_panic {
                None => self.first_panic = Some(payload),
                Some(_) => unwind::discard(payload),
            }
        }
    }

    /// Resumes the first panic, unless the thread unwinds already.
    pub(crate) fn finish(self) {
        match self.first_panic {
            Some(payload) if std::thread::panicking() => unwind::discard(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }
}

/// Drops all values of an iterator.
pub(crate) fn drop_all(values: impl Iterator) {
    drop(DropRest(values));
}

/// An iterator whose remaining values are all dropped with it.
pub(crate) struct DropRest<I: Iterator>(pub(crate) I);

impl<I: Iterator> Drop for DropRest<I> {
    #[inline]
    fn drop(&mut self) {
        if needs_drop::<I::Item>()
            && let Some(first) = self.0.next()
        {
            let mut drops = DropSequence::default();
            drops.run(|| drop(first));
            for value in &mut self.0 {
                drops.run(|| drop(value));
            }
            drops.finish();
        }
    }
}

/// A vector whose values are all dropped with it, even if destructors panic.
pub struct DropEach<T>(pub(crate) Vec<T>);

impl<T> DropEach<T> {
    pub(crate) fn into_vec(mut self) -> Vec<T> {
        take(&mut self.0)
    }
}

impl<T> Drop for DropEach<T> {
    fn drop(&mut self) {
        if needs_drop::<T>() {
            drop_all(take(&mut self.0).into_iter());
        }
    }
}
