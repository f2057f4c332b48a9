//! Pointers to state that threads share. serde writes what they point to (feature `rc`), so another process would change
//! a copy, in silence.

use std::any::type_name;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::{CodecError, Wire};
use crate::channel::{Receiver, Sender};
use crate::shared;

/// A pointer to state that is shared within one process, or a container of one. `Place` says where it lies in the
/// container, so that a container of several types has an implementation for each of them.
pub trait LocalState<Place> {}

/// The place of a pointer that is the whole value.
pub struct Itself;

/// The place in the type parameter of this number.
pub struct In<const N: usize, Place>(PhantomData<Place>);

impl<T: Changeable + ?Sized> LocalState<Itself> for Arc<T> {}
impl<T: Changeable + ?Sized> LocalState<Itself> for Rc<T> {}

macro_rules! containers {
    ($($container:ty: $number:literal $(of $other:ident)?,)*) => {
        $(impl<T: LocalState<Place>, Place $(, $other)?> LocalState<In<$number, Place>> for $container {})*
    };
}
containers! {
    Box<T>: 0,
    Option<T>: 0,
    Vec<T>: 0,
    VecDeque<T>: 0,
    Sender<T>: 0,
    Receiver<T>: 0,
    shared::Mutex<T>: 0,
    Result<T, E>: 0 of E,
    Result<V, T>: 1 of V,
    HashMap<K, T>: 0 of K,
    BTreeMap<K, T>: 0 of K,
}
impl<T: LocalState<Place>, Place, const N: usize> LocalState<In<0, Place>> for [T; N] {}

/// Calls `tuple!` for each place of a tuple: the types before it, its own, and those behind it.
macro_rules! places {
    ($($before:ident)*; ) => {};
    ($($before:ident)*; $at:ident $($after:ident)*) => {
        impl<$($before,)* $at: LocalState<Place>, $($after,)* Place>
            LocalState<In<{ <[&str]>::len(&[$(stringify!($before)),*]) }, Place>> for ($($before,)* $at, $($after,)*) {}
        places!($($before)* $at; $($after)*);
    };
}
places!(; A);
places!(; A B);
places!(; A B C);
places!(; A B C D);
places!(; A B C D E);
places!(; A B C D E F);
places!(; A B C D E F G);
places!(; A B C D E F G H);

/// Fails if `T` is a pointer to state that is shared within one process. A generic function cannot refuse it at compile
/// time: Rust has no bound for what a type does not implement. So this looks at the name of the type, and does not see
/// what lies deeper in it.
pub(crate) fn check_local_state<T>() -> Result<(), CodecError> {
    if !is_pointer_to_state(type_name::<T>()) {
        return Ok(());
    }
    Err(CodecError::new(format_args!(
        "`{}` cannot go through a channel between processes or a `shared::Mutex`, where the value is copied as bytes: \
         use `fanfold::shared::Mutex` for a value that processes change and `fanfold::shared::Counter` for a number, or \
         pass the value itself",
        type_name::<T>()
    )))
}

/// As [`check_local_state`], and panics.
#[track_caller]
pub(crate) fn refuse_local_state<T>() {
    check_local_state::<T>().unwrap_or_else(|error| panic!("{error}"));
}

fn is_pointer_to_state(name: &str) -> bool {
    let pointee = name.strip_prefix("alloc::sync::Arc<");
    pointee.is_some_and(|pointee| pointee.starts_with("std::sync::") || pointee.starts_with("core::sync::atomic::"))
}

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
        $(impl Changeable for std::sync::atomic::$atomic {})*
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;

    #[test]
    fn pointers_to_state_are_known_by_name() {
        for local in [
            type_name::<Arc<Mutex<u8>>>(),
            type_name::<Arc<RwLock<Vec<u8>>>>(),
            type_name::<Arc<OnceLock<u8>>>(),
            type_name::<Arc<AtomicU64>>(),
            type_name::<Arc<AtomicBool>>(),
        ] {
            assert!(is_pointer_to_state(local), "{local}");
        }
        for crosses in [type_name::<Arc<str>>(), type_name::<Arc<Vec<u8>>>(), type_name::<shared::Mutex<u8>>()] {
            assert!(!is_pointer_to_state(crosses), "{crosses}");
        }
    }

    #[test]
    #[should_panic(expected = "use `fanfold::shared::Mutex`")]
    fn a_pointer_to_state_is_refused() {
        refuse_local_state::<Arc<Mutex<u8>>>();
    }
}
