//! Maps whose items go to other processes: in blocks, as a request for each would cost more than most items.
//!
//! Blocks are handed out in the order of their indexes. A worker's first one is a single item; then they grow while the
//! clock says that they are short, up to [`BLOCK`], and not beyond a share of what is left, so that all workers end
//! together; but not below [`LEAST`], where a request's way would be most of it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::first_error::FirstRefused;
use super::indexed::Indexed;
use super::output::Slots;
use super::progress::Bar;
use super::schedule::Grain;
use super::source::{Source, Visitor};
use crate::pool::Core;
use crate::pool::scoped;
use crate::sys::drop_all::DropEach;
use crate::task::send_proof::AssertSend;

/// How long a block is to take: much longer than a request's way there and back.
const BLOCK: Duration = Duration::from_micros(500);
/// How long the last ones are to take.
const LEAST: Duration = Duration::from_micros(100);
/// How much longer a block may be than the one before it.
const GROWTH: usize = 32;

/// A function that runs on several items at once, elsewhere.
pub trait Batches<A, R>: Sync {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Takes items until there are none, or until `give` breaks; gives each result in order.
    fn run(&self, next: &mut dyn FnMut() -> Option<A>, give: &mut dyn FnMut(R) -> ControlFlow<()>);
}

/// A run of such a function over items.
pub(super) struct BatchRun<'a, A, R, K> {
    pub(super) core: &'a std::sync::Arc<Core>,
    pub(super) function: &'a dyn Batches<A, R>,
    pub(super) grain: Grain,
    pub(super) bar: Option<&'a Bar>,
    pub(super) keep: K,
}

impl<A, R, K> BatchRun<'_, A, R, K> {
    /// As [`Run::collect`](super::Run::collect).
    pub(super) fn collect<T, E>(&self, source: impl Source<Item = A>) -> Result<Vec<T>, E>
    where
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut windows = Windows { run: self, kept: Ok(DropEach(Vec::new())) };
        source.visit(&mut windows);
        windows.kept.map(DropEach::into_vec)
    }

    /// As [`collect`](Self::collect), for items that are one window.
    pub(super) fn collect_window<T, E>(&self, items: impl Indexed<Item = A>) -> Result<Vec<T>, E>
    where
        K: Fn(R) -> Result<T, E> + Sync,
    {
        let mut windows = Windows { run: self, kept: Ok(DropEach(Vec::new())) };
        let _ = windows.window(items);
        windows.kept.map(DropEach::into_vec)
    }
}

struct Windows<'r, 'a, A, R, K, T, E> {
    run: &'r BatchRun<'a, A, R, K>,
    kept: Result<DropEach<T>, E>,
}

impl<A, R, K, T, E> Visitor<A> for Windows<'_, '_, A, R, K, T, E>
where
    K: Fn(R) -> Result<T, E> + Sync,
{
    fn largest(&self) -> usize {
        // A range may be longer than memory, and its first item may be the last.
        1 << 20
    }

    fn window<S: Indexed<Item = A>>(&mut self, items: S) -> ControlFlow<()> {
        let BatchRun { core, function, grain, bar, ref keep } = *self.run;
        let len = items.len();
        let started = AtomicUsize::new(0);
        let handout =
            Handout { len, workers: core.threads(), grain, started: &started, stopped: AtomicBool::new(false) };
        let rest = Rest { items: &items, started: &started };
        let slots = Slots::new(len);
        let stop = FirstRefused::new();
        // SAFETY: the function's own proof says that arguments and results may cross. Each block takes its own items,
        // writes its own places, and reaches `stop` under its lock.
        let shared = unsafe { AssertSend::new((&items, &slots, &stop, function)) };
        let work = || {
            let (items, slots, stop, function) = *shared.get();
            let mut guard = StopOnUnwind(Some(&handout));
            let mut size = Size { most: 1, least: 1 };
            while let Some(block) = handout.take(&size) {
                let begun = Instant::now();
                let count = block.len();
                // SAFETY: the counter gives each index to one block.
                let mut input = unsafe { items.run(block.clone()) };
                // SAFETY: the same.
                let mut output = unsafe { slots.block(block.clone()) };
                let mut index = block.start;
                let mut stopped = false;
                function.run(&mut || input.next(), &mut |result| {
                    match keep(result) {
                        Ok(result) => output.push(result),
                        Err(reason) => {
                            stop.refuse(index, reason);
                            stopped = true;
                            return ControlFlow::Break(());
                        }
                    }
                    index += 1;
                    ControlFlow::Continue(())
                });
                if stopped {
                    handout.stopped.store(true, Ordering::Relaxed);
                    break;
                }
                output.finish();
                if let Some(bar) = bar {
                    bar.advance(count);
                }
                size = Size::after(count, begun.elapsed());
            }
            guard.0 = None;
        };
        if len > 0 {
            let helpers = core.threads().min(handout.blocks());
            let lent = scoped::lend(core, helpers, false, &work);
            assert!(lent.is_ok(), "`{}` cannot run on all items: its pool was closed", function.name());
        }
        drop(rest);
        if let Some(reason) = stop.into_reason() {
            self.kept = Err(reason);
            return ControlFlow::Break(());
        }
        // SAFETY: no block stopped or panicked, so the blocks that were finished cover all of `0..len`.
        let mut results = unsafe { slots.into_vec() };
        match &mut self.kept {
            // One window, mostly: no need to copy it.
            Ok(kept) if kept.0.is_empty() => kept.0 = results,
            Ok(kept) => kept.0.append(&mut results),
            Err(_) => {}
        }
        ControlFlow::Continue(())
    }
}

/// Items of a worker's next block.
struct Size {
    /// Takes about [`BLOCK`].
    most: usize,
    /// Takes about [`LEAST`].
    least: usize,
}

impl Size {
    /// By what the last block took.
    fn after(count: usize, took: Duration) -> Self {
        let items_in = |time: Duration| {
            let fitting = time.as_nanos() * count as u128 / took.as_nanos().max(1);
            usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, count.saturating_mul(GROWTH))
        };
        Self { most: items_in(BLOCK), least: items_in(LEAST) }
    }
}

/// The items of a window that no block was started for: dropped at the end, on every path.
struct Rest<'a, S: Indexed> {
    items: &'a S,
    started: &'a AtomicUsize,
}

impl<S: Indexed> Drop for Rest<'_, S> {
    fn drop(&mut self) {
        let started = self.started.load(Ordering::Relaxed).min(self.items.len());
        // SAFETY: nobody works on the window any more, and no block reached these.
        unsafe { self.items.discard(started..self.items.len()) };
    }
}

/// The counter that blocks are taken from.
struct Handout<'a> {
    len: usize,
    workers: usize,
    grain: Grain,
    /// The end of the last block that was started.
    started: &'a AtomicUsize,
    stopped: AtomicBool,
}

impl Handout<'_> {
    fn take(&self, size: &Size) -> Option<std::ops::Range<usize>> {
        let mut start = self.started.load(Ordering::Relaxed);
        loop {
            if start >= self.len || self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let rest = self.len - start;
            let size = match self.grain {
                Grain::Adaptive => size.most.min(size.least.max(rest / (2 * self.workers))).min(rest),
                Grain::Size(size) => size.clamp(1, rest),
                Grain::Blocks(blocks) => {
                    let blocks = blocks.clamp(1, self.len);
                    let (each, more) = (self.len / blocks, self.len % blocks);
                    if start < more * (each + 1) { each + 1 } else { each }
                }
            };
            match self.started.compare_exchange_weak(start, start + size, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..start + size),
                Err(other) => start = other,
            }
        }
    }

    /// Blocks there will be at most.
    fn blocks(&self) -> usize {
        match self.grain {
            Grain::Adaptive => self.len,
            Grain::Size(size) => self.len.div_ceil(size.max(1)),
            Grain::Blocks(blocks) => blocks.max(1),
        }
    }
}

/// Stops the handout if its thread unwinds.
struct StopOnUnwind<'a, 'b>(Option<&'a Handout<'b>>);

impl Drop for StopOnUnwind<'_, '_> {
    fn drop(&mut self) {
        if let Some(handout) = self.0 {
            handout.stopped.store(true, Ordering::Relaxed);
        }
    }
}
