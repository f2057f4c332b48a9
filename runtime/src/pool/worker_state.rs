//! Per-worker state: `init = path` makes it once per worker, and the function's `#[worker]` parameter is `&mut` to it.
//!
//! The state lives in a thread-local of its worker. So it need not be `Send`, and it is dropped when the worker ends.
//! It is taken out of the thread-local while a call uses it. A nested call on the same worker finds none and makes a
//! second one, so there are never two `&mut` to one state.

use std::any::{Any, TypeId};
use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::panic_message;
use crate::error::panics;
use crate::sys::unwind;

/// The type that the function belongs to, the function's path, and the type of its state. So functions of one name in
/// different `impl` blocks have separate states, and a generic function has one state per type.
type Key = (TypeId, &'static str, TypeId);

type States = HashMap<Key, Box<dyn Any>>;

thread_local! {
    static STATES: RefCell<States> = RefCell::default();
}

/// What an initializer may return: the state, or a `Result` of it. The marker `M` tells the two implementations apart.
#[diagnostic::on_unimplemented(
    message = "an initializer that returns `{Self}` does not make the `#[worker]` state `{S}`",
    label = "does not make the `#[worker]` state",
    note = "`init` takes the path of a function without arguments that returns the state, or a `Result` of it whose error can be displayed"
)]
pub trait IntoState<S, M> {
    /// Returns the state, or the error's text.
    fn into_state(self) -> Result<S, String>;
}

/// Marker: the initializer returns the state.
pub struct Plain;
/// Marker: the initializer returns a `Result`.
pub struct FallibleInit;

impl<S> IntoState<S, Plain> for S {
    fn into_state(self) -> Result<S, String> {
        Ok(self)
    }
}

impl<S, E: Display> IntoState<S, FallibleInit> for Result<S, E> {
    fn into_state(self) -> Result<S, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Calls `work` with this worker's state of the function. `init` makes the state if there is none.
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
    // In a destructor of a thread-local, `STATES` may be gone. Then a state is made for this call alone.
    let stored = STATES.try_with(|states| states.borrow_mut().remove(&key)).ok().flatten();
    let mut state = match stored.map(Box::<dyn Any>::downcast::<S>) {
        Some(Ok(state)) => state,
        _ => Box::new(make(function, init)),
    };
    // If this panics, the state is dropped, because it may be inconsistent.
    let result = work(&mut state);
    let mut state = Some(state as Box<dyn Any>);
    let _ =
        STATES.try_with(|states| state = state.take().and_then(|state| borrow_with_room(states).insert(key, state)));
    // A second state that a nested call has stored is dropped outside of the borrow: its destructor may call this.
    drop(state);
    result
}

/// Borrows the map when it has room for one more state. It grows outside of the borrow: the program's allocator may run
/// a task, which may use a state.
fn borrow_with_room(states: &RefCell<States>) -> RefMut<'_, States> {
    loop {
        let map = states.borrow_mut();
        let len = map.len();
        if len < map.capacity() {
            return map;
        }
        drop(map);
        let mut larger = States::with_capacity(2 * len + 1);
        let mut map = states.borrow_mut();
        if map.len() < larger.capacity() {
            larger.extend(map.drain());
            std::mem::swap(&mut *map, &mut larger);
        }
        drop(map);
    }
}

/// Drops this worker's states, before the thread ends. Their destructors may panic, and may wait for tasks: in the
/// destructor of the thread-local they could not.
pub(crate) fn drop_all() {
    // One at a time, outside of the borrow: a destructor may make another state.
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
