//! Maps of functions of `kind = "process"`.
//!
//! Their function is boxed: its type holds the codecs, which have no name, and an opaque type in the signature of
//! `name::map` would report each mistake in the items three times (see [`Named`](crate::map::Named)).

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::call_site::CallSite;
use super::process::{core, runs_in_this_process};
use super::remote::Remote;
use crate::error::TaskError;
use crate::map::{BatchFn, Detach, Items, Map, MapFn, ProcessBatches};
use crate::pool::CoreRef;
use crate::process::Code;
use crate::process::backend::BackendId;
use crate::task::send_proof::CallProof;

/// `name::map`; `wrap` turns an item into the function's arguments.
#[track_caller]
pub fn map_process<I, M, A, T, R, C, D>(
    site: CallSite,
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    items: I,
) -> Map<I::Source, ProcessFn<A, R>, A>
where
    I: Items<A, M>,
    A: 'static,
    T: 'static,
    R: 'static,
    C: Code<T> + 'static,
    D: Code<R> + 'static,
{
    let remote = remote.placed();
    map_process_in(core(site, &remote).into(), site, remote, wrap, items)
}

/// A map in worker processes of this pool.
pub(super) fn map_process_in<I, M, A, T, R, C, D>(
    core: CoreRef,
    site: CallSite,
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    items: I,
) -> Map<I::Source, ProcessFn<A, R>, A>
where
    I: Items<A, M>,
    A: 'static,
    T: 'static,
    R: 'static,
    C: Code<T> + 'static,
    D: Code<R> + 'static,
{
    let remote = remote.with_timeout(site.options.timeout);
    let function = ProcessMapFn { remote, wrap, is_local: runs_in_this_process() };
    let map = Map::new(core, site.function, items.into_source(), ProcessFn(Box::new(function))).stateful();
    match site.progress {
        Some(label) => map.progress(label),
        None => map,
    }
}

/// A process function as the function of a map, without the types of its codecs.
pub struct ProcessFn<A, R>(Box<dyn BoxedFn<A, R>>);

/// A boxed function of a map that tasks may own.
trait BoxedFn<A, R>: MapFn<A, Out = R> + Send {
    /// As [`Detach::detach`].
    fn detach_boxed(self: Box<Self>) -> BatchFn<A, R>;
}

impl<A: 'static, R: 'static, F: Detach<A, Out = R> + Send> BoxedFn<A, R> for F {
    fn detach_boxed(self: Box<Self>) -> BatchFn<A, R> {
        self.detach()
    }
}

impl<A: 'static, R: 'static> MapFn<A> for ProcessFn<A, R> {
    type Out = R;

    fn call(&self, item: A) -> R {
        self.0.call(item)
    }

    fn call_proof(&self) -> CallProof<A, R> {
        self.0.call_proof()
    }

    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, R>> {
        self.0.process_batches()
    }

    fn runs_in_processes(&self) -> Option<bool> {
        self.0.runs_in_processes()
    }

    fn use_backend(&mut self, backend: BackendId) -> bool {
        self.0.use_backend(backend)
    }
}

impl<A: 'static, R: 'static> Detach<A> for ProcessFn<A, R> {
    fn detach(self) -> BatchFn<A, R> {
        self.0.detach_boxed()
    }
}

/// A process function as the function of a map.
struct ProcessMapFn<A, T, R, C, D> {
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    is_local: bool,
}

// SAFETY: function pointers, a flag, and a `Remote`, which is plain data and function pointers.
unsafe impl<A, T, R, C, D> Send for ProcessMapFn<A, T, R, C, D> {}
// SAFETY: function pointers, a flag, and a `Remote`, which is plain data and function pointers.
unsafe impl<A, T, R, C, D> Sync for ProcessMapFn<A, T, R, C, D> {}

impl<A, T, R, C: Code<T>, D: Code<R>> MapFn<A> for ProcessMapFn<A, T, R, C, D> {
    type Out = R;

    fn call(&self, item: A) -> R {
        let args = (self.wrap)(item);
        if self.is_local {
            self.remote.run_local(args)
        } else {
            self.remote.settle(self.remote.call(&RefCell::new(Some(args))))
        }
    }

    fn call_proof(&self) -> CallProof<A, R> {
        // SAFETY: `Code<T>`, made of `A`, and `Code<R>` are implemented for `Send` types only.
        unsafe { CallProof::new_unchecked() }
    }

    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, R>> {
        if self.is_local { None } else { Some(self) }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        (!self.is_local).then_some(!self.remote.has_backend())
    }

    fn use_backend(&mut self, backend: BackendId) -> bool {
        self.remote = self.remote.on_backend(backend);
        true
    }
}

impl<A, T, R, C: Code<T>, D: Code<R>> ProcessBatches<A, R> for ProcessMapFn<A, T, R, C, D> {
    fn name(&self) -> &'static str {
        self.remote.function()
    }

    fn fixed_block(&self, items: usize, workers: usize) -> Option<usize> {
        self.remote.has_backend().then(|| items.div_ceil(workers.max(1)).max(1))
    }

    fn run(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(R) -> ControlFlow<()>,
    ) {
        let next = &mut || next().map(self.wrap);
        let _ = self.remote.call_all(start, next, &mut |outcome| give(self.remote.settle(outcome)));
    }

    fn outcomes(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) {
        let _ = self.remote.call_all(start, &mut || next().map(self.wrap), give);
    }
}

impl<A, T: 'static, R: 'static, C: Code<T> + 'static, D: Code<R> + 'static> Detach<A> for ProcessMapFn<A, T, R, C, D> {
    fn detach(self) -> BatchFn<A, R>
    where
        A: 'static,
    {
        Arc::new(move |items: Vec<A>, results: &mut Vec<R>| {
            let mut items = items.into_iter();
            if self.is_local {
                return results.extend(items.map(|item| self.call(item)));
            }
            self.run(None, &mut || items.next(), &mut |result| {
                results.push(result);
                ControlFlow::Continue(())
            });
        })
    }
}
