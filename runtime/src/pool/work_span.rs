//! [`WorkSpan`]: one piece of a program's work while it runs. It is a span of the crate `tracing` (feature of that
//! name), if [`task_spans`](crate::Configure::task_spans) is on, and an entry of a report (feature `trace`) that is
//! being made.

use std::time::Duration;

use super::Core;
#[cfg(feature = "tracing")]
use super::current_worker;
#[cfg(feature = "trace")]
use super::recorder::{self, Recording};
use super::task_clock::{REPORTS, SPANS, is_measured_for};
use crate::sys::clock::Moment;

/// What a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WorkKind {
    /// A submitted task.
    Task,
    /// A submitted future, from its first poll to its end.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "`async fn` needs the feature"))]
    Future,
    /// A direct call or an installed closure, on a worker.
    Call,
    /// A chunk of an argument, a frame or a file.
    Chunk,
    /// Items of a map that one thread runs one after the other.
    Block,
    /// A half of a [`join`](crate::join()) that another thread runs.
    Half,
}

/// A piece of work.
#[derive(Clone, Copy)]
#[cfg_attr(not(any(feature = "tracing", feature = "trace")), allow(dead_code, reason = "nothing observes it"))]
pub(crate) struct Work<'a> {
    pub(crate) kind: WorkKind,
    pub(crate) function: &'static str,
    pub(crate) core: &'a Core,
    /// How many items it has; 1 for a single call.
    pub(crate) items: usize,
}

impl<'a> Work<'a> {
    /// A call that runs on a worker of this pool.
    pub(crate) fn call(function: &'static str, core: &'a Core) -> Self {
        Self { kind: WorkKind::Call, function, core, items: 1 }
    }

    /// A half of a [`join`](crate::join()), or all of it, on a worker of this pool.
    pub(crate) fn half_of_join(core: &'a Core) -> Self {
        Self { kind: WorkKind::Half, function: "join", core, items: 1 }
    }
}

/// Whether pieces of work get spans, or are recorded.
#[inline]
pub(crate) fn is_observed() -> bool {
    cfg!(any(feature = "tracing", feature = "trace")) && is_measured_for(SPANS | REPORTS)
}

/// Runs a piece of work, and observes it if that is wanted.
#[inline]
pub(crate) fn observed<T>(work: Work<'_>, queued: Option<Duration>, run: impl FnOnce() -> T) -> T {
    let span = is_observed().then(|| WorkSpan::start(work, queued));
    let _entered = span.as_ref().map(WorkSpan::enter);
    run()
}

/// A piece of work that runs. It ends when this is dropped.
pub(crate) struct WorkSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    #[cfg(feature = "tracing")]
    started: Moment,
    #[cfg(feature = "trace")]
    _recording: Option<Recording>,
}

#[cfg(feature = "tracing")]
macro_rules! work_span {
    ($target:literal, $name:literal, $work:expr) => {
        tracing::trace_span!(
            target: $target,
            $name,
            function = $work.function,
            kind = $work.core.kind.label(),
            pool = $work.core.name,
            items = tracing::field::Empty,
            queue_time = tracing::field::Empty,
            run_time = tracing::field::Empty,
            worker = tracing::field::Empty,
        )
    };
}

impl WorkSpan {
    /// The work starts now, and was queued for this long.
    #[cold]
    #[cfg_attr(
        not(any(feature = "tracing", feature = "trace")),
        allow(unused_variables, reason = "nothing observes it")
    )]
    pub(crate) fn start(work: Work<'_>, queued: Option<Duration>) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: if is_measured_for(SPANS) { tracing_span(work, queued) } else { tracing::Span::none() },
            #[cfg(feature = "tracing")]
            started: Moment::now(),
            #[cfg(feature = "trace")]
            _recording: is_measured_for(REPORTS).then(|| recorder::start(work, queued)),
        }
    }

    /// Enters the span on this thread until the guard is dropped.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "spans need the feature"))]
    pub(crate) fn enter(&self) -> EnteredWork<'_> {
        EnteredWork {
            #[cfg(feature = "tracing")]
            _entered: self.span.enter(),
            _span: self,
        }
    }
}

/// The span of a piece of work: target `fanfold::task`, `fanfold::chunk` or `fanfold::block`, level `TRACE`.
#[cfg(feature = "tracing")]
fn tracing_span(work: Work<'_>, queued: Option<Duration>) -> tracing::Span {
    let span = match work.kind {
        WorkKind::Task | WorkKind::Future => work_span!("fanfold::task", "task", work),
        WorkKind::Chunk => work_span!("fanfold::chunk", "chunk", work),
        WorkKind::Block => work_span!("fanfold::block", "block", work),
        // Their caller waits for them, so its own span lasts as long.
        WorkKind::Call | WorkKind::Half => tracing::Span::none(),
    };
    if !span.is_none() {
        if let Some(queued) = queued {
            span.record("queue_time", tracing::field::debug(queued));
        }
        if matches!(work.kind, WorkKind::Block) {
            span.record("items", work.items);
        }
        if let Some(worker) = current_worker::worker_index() {
            span.record("worker", worker);
        }
    }
    span
}

#[cfg(feature = "tracing")]
impl Drop for WorkSpan {
    fn drop(&mut self) {
        if !self.span.is_none() {
            let took = Duration::from_nanos(Moment::now().since(self.started));
            self.span.record("run_time", tracing::field::debug(took));
        }
    }
}

/// Exits the span when dropped.
pub(crate) struct EnteredWork<'a> {
    #[cfg(feature = "tracing")]
    _entered: tracing::span::Entered<'a>,
    _span: &'a WorkSpan,
}

/// When the chunks of a call were queued, if they are observed.
#[derive(Clone, Copy)]
pub(crate) struct ChunkClock(Option<Moment>);

impl ChunkClock {
    #[inline]
    pub(crate) fn start() -> Self {
        Self(is_observed().then(Moment::now))
    }

    /// Runs a chunk of so many items.
    #[inline]
    pub(crate) fn observed<T>(self, function: &'static str, core: &Core, items: usize, run: impl FnOnce() -> T) -> T {
        let queued = self.0.map(|queued| Duration::from_nanos(Moment::now().since(queued)));
        observed(Work { kind: WorkKind::Chunk, function, core, items }, queued, run)
    }
}
