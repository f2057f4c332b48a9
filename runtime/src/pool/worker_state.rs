//! Per-worker state: `init = path` makes it once a worker, and the function's `#[worker]` parameter is `&mut` to it.
//!
//! The state lives in a thread-local of its worker, so it need not be `Send`, and it is dropped when the worker ends.
//! It is taken out while a call uses it: a nested call on the same worker finds none and makes a second one, so there
//! is never a second `&mut`.

use std::any::{Any, TypeId};
use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::panic_message;
use crate::error::panics;
use crate::sys::unwind;

/// The function, as its path and the type that it belongs to, and the type of its state: functions of the same name
/// in other blocks have states of their own, and generic functions one a type.
type Key = (TypeId, &'static str, TypeId);

type States = HashMap<Key, Box<dyn Any>>;

thread_local! {
    static STATES: RefCell<States> = RefCell::default();
}

/// What an initializer may return: the state, or a `Result` of it. `M` only tells the two apart.
#[diagnostic::on_unimplemented(
    message = "an initializer that returns `{Self}` does not make the `#[worker]` state `{S}`",
    label = "does not make the `#[worker]` state",
    note = "`init` takes the path of a function without arguments that returns the state, or a `Result` of it whose error can be displayed"
)]
pub trait IntoState<S, M> {
    /// The state, or why there is none.
    fn into_state(self) -> Result<S, String>;
}

/// Marks an initializer that returns the state.
pub struct Plain;
/// Marks an initializer that returns a `Result`.
pub struct Fallible;

impl<S> IntoState<S, Plain> for S {
    fn into_state(self) -> Result<S, String> {
        Ok(self)
    }
}

impl<S, E: Display> IntoState<S, Fallible> for Result<S, E> {
    fn into_state(self) -> Result<S, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Calls `work` with this worker's state of the function, made by `init` if there is none.
///
/// # Panics
///
/// If `init` fails or panics.
pub fn with_state<Owner, S, O, M, R>(
    function: &'static str,
    init: impl FnOnce() -> O,
    work: impl FnOnce(&mut S) -> R,
) -> R
where
    Owner: ?Sized,
    S: 'static,
    O: IntoState<S, M>,
{
    let key = (typeid::of::<Owner>(), function, TypeId::of::<S>());
    // In a destructor of a thread-local the map may be gone: a state is made for this call alone then.
    let kept = STATES.try_with(|states| states.borrow_mut().remove(&key)).ok().flatten();
    let state = match kept.map(Box::<dyn Any>::downcast::<S>) {
        Some(Ok(state)) => state,
        _ => Box::new(make(function, init)),
    };
    // A call that panics leaves the state behind: it may be half-changed.
    let mut state = state;
    let result = work(&mut state);
    let mut state = Some(state as Box<dyn Any>);
    let _ =
        STATES.try_with(|states| state = state.take().and_then(|state| borrow_with_room(states).insert(key, state)));
    // A nested call's second state, dropped outside of the borrow: its destructor may call us.
    drop(state);
    result
}

/// A map with room for one more state. It grows outside of the borrow: the program's allocator may run a task here.
fn borrow_with_room(states: &RefCell<States>) -> RefMut<'_, States> {
    loop {
        let kept = states.borrow_mut();
        let len = kept.len();
        if len < kept.capacity() {
            return kept;
        }
        drop(kept);
        let mut larger = States::with_capacity(2 * len + 1);
        let mut kept = states.borrow_mut();
        if kept.len() < larger.capacity() {
            larger.extend(kept.drain());
            std::mem::swap(&mut *kept, &mut larger);
        }
        drop(kept);
    }
}

/// Drops what this worker keeps, at its end: a destructor that panics costs nothing but itself, and one that waits for a
/// task may, which the thread's own end would be too late for.
pub(crate) fn drop_all() {
    // One at a time, outside of the borrow: a destructor may call us, and make another.
    while let Some(state) =
        STATES.with_borrow_mut(|states| states.keys().next().copied().and_then(|key| states.remove(&key)))
    {
        unwind::discard(state);
    }
}

fn make<S, O: IntoState<S, M>, M>(function: &'static str, init: impl FnOnce() -> O) -> S {
    let why = match catch_unwind(AssertUnwindSafe(|| init().into_state())) {
        Ok(Ok(state)) => return state,
        Ok(Err(why)) => why,
        Err(payload) => format!("it panicked: {}", panic_message(&*payload)),
    };
    let why = format!("`{function}` cannot start on this worker: its initializer failed: {why}");
    panics::init_failed(function, why)
}
