//! Pointers to state that threads share. serde writes what they point to (feature `rc`), so another process would change
//! a copy, in silence.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    AtomicUsize,
};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::Wire;

/// A pointer to state that is shared within one process.
pub trait LocalState {}

impl<T: Changeable + ?Sized> LocalState for Arc<T> {}
impl<T: Changeable + ?Sized> LocalState for Rc<T> {}

/// A type that is changed through a shared reference.
pub trait Changeable {}

impl<T: ?Sized> Changeable for Mutex<T> {}
impl<T: ?Sized> Changeable for RwLock<T> {}
impl<T: ?Sized> Changeable for RefCell<T> {}
impl<T: ?Sized> Changeable for Cell<T> {}
impl<T> Changeable for OnceLock<T> {}
impl<T> Changeable for OnceCell<T> {}

macro_rules! atomics {
    ($($atomic:ident)*) => {
        $(impl Changeable for $atomic {})*
    };
}
atomics! {
    AtomicBool AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicUsize
}

/// What processes share when it crosses. No pointer to local state does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared with a worker process",
    label = "the worker would change a copy of its own",
    note = "use `fanfold::shared::Mutex` for a value that processes change, `fanfold::shared::Counter` for a number, `fanfold::shared::Flag` for an event and `fanfold::shared::Bytes` for memory; or pass the value and return what has changed"
)]
pub trait CrossesAsOne: Wire {}
