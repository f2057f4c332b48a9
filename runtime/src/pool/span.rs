//! Spans of the crate `tracing` (feature of that name): [`CallerSpan`], the span of a call's caller, which the worker
//! enters, and [`WorkSpan`], the span of one task or chunk.

#[cfg(feature = "tracing")]
use std::time::Duration;

#[cfg(feature = "tracing")]
use super::current_worker;
#[cfg(feature = "tracing")]
use super::task_clock::{SPANS, is_measured_for};
#[cfg(feature = "tracing")]
use crate::sys::clock::Moment;

/// The span that the caller was in.
pub(crate) struct CallerSpan {
    /// Boxed: most tasks of most programs have none, and the space for it would be in each task.
    #[cfg(feature = "tracing")]
    span: Option<Box<tracing::Span>>,
}

impl CallerSpan {
    /// The current span of this thread.
    pub(crate) fn here() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: Some(tracing::Span::current()).filter(|span| !span.is_none()).map(Box::new),
        }
    }

    /// Whether there is no span.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "spans need the feature"))]
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.span.is_none();
        #[cfg(not(feature = "tracing"))]
        true
    }

    /// Enters the span on this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> EnteredSpan<'_> {
        EnteredSpan {
            #[cfg(feature = "tracing")]
            _entered: self.span.as_ref().map(|span| span.enter()),
            _span: self,
        }
    }
}

/// Exits the span when dropped.
pub(crate) struct EnteredSpan<'a> {
    #[cfg(feature = "tracing")]
    _entered: Option<tracing::span::Entered<'a>>,
    _span: &'a CallerSpan,
}

/// The span of one task (target `fanfold::task`) or chunk (`fanfold::chunk`), at level `TRACE`, if
/// [`task_spans`](crate::Configure::task_spans) is on and a subscriber wants it. It has the fields
/// `function`, `kind`, `pool`, `queue_time`, `worker` and, when it ends, `run_time`.
#[cfg(feature = "tracing")]
pub(crate) struct WorkSpan {
    span: tracing::Span,
    started: Option<Moment>,
}

#[cfg(feature = "tracing")]
macro_rules! work_span {
    ($target:literal, $name:literal, $function:expr, $kind:expr, $pool:expr) => {
        tracing::trace_span!(
            target: $target,
            $name,
            function = $function,
            kind = $kind,
            pool = $pool,
            queue_time = tracing::field::Empty,
            run_time = tracing::field::Empty,
            worker = tracing::field::Empty,
        )
    };
}

#[cfg(feature = "tracing")]
impl WorkSpan {
    /// The span of a task that starts now and was queued for this long.
    pub(crate) fn task(function: &'static str, core: &super::Core, queued: Option<Duration>) -> Self {
        let span = || work_span!("fanfold::task", "task", function, core.kind.label(), core.name);
        Self::start(is_measured_for(SPANS).then(span), queued)
    }

    /// The span of a chunk that starts now.
    pub(crate) fn chunk(function: &'static str, core: &super::Core, clock: ChunkClock) -> Self {
        let span = |_| work_span!("fanfold::chunk", "chunk", function, core.kind.label(), core.name);
        let queued = clock.0.map(|queued| Duration::from_nanos(Moment::now().since(queued)));
        Self::start(clock.0.map(span), queued)
    }

    fn start(span: Option<tracing::Span>, queued: Option<Duration>) -> Self {
        let span = span.unwrap_or_else(tracing::Span::none);
        let started = (!span.is_none()).then(Moment::now);
        if started.is_some() {
            if let Some(queued) = queued {
                span.record("queue_time", tracing::field::debug(queued));
            }
            if let Some(worker) = current_worker::worker_index() {
                span.record("worker", worker);
            }
        }
        Self { span, started }
    }

    /// Enters the span on this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> tracing::span::Entered<'_> {
        self.span.enter()
    }
}

#[cfg(feature = "tracing")]
impl Drop for WorkSpan {
    fn drop(&mut self) {
        if let Some(started) = self.started {
            let took = Duration::from_nanos(Moment::now().since(started));
            self.span.record("run_time", tracing::field::debug(took));
        }
    }
}

/// When the chunks of a call were queued, if they get spans.
#[derive(Clone, Copy)]
pub(crate) struct ChunkClock(#[cfg(feature = "tracing")] Option<Moment>);

impl ChunkClock {
    #[inline]
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(feature = "tracing")]
            is_measured_for(SPANS).then(Moment::now),
        )
    }
}

/// Runs a chunk, inside a span if a subscriber wants one.
#[inline]
#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "spans need the feature"))]
pub(crate) fn in_chunk_span<T>(
    function: &'static str,
    core: &super::Core,
    clock: ChunkClock,
    work: impl FnOnce() -> T,
) -> T {
    #[cfg(feature = "tracing")]
    let span = WorkSpan::chunk(function, core, clock);
    #[cfg(feature = "tracing")]
    let _entered = span.enter();
    work()
}
