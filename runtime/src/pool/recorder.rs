//! The recorder: while a report is being made, each thread keeps a list of the pieces of work that it has run, and of
//! its waits inside of them.

use std::cell::{Cell, RefCell};
use std::mem::take;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use super::Kind;
use super::task_clock::{REPORTS, is_measured_for, measure_for};
use super::work_span::{Work, WorkKind};
use crate::sys::clock::Moment;
use crate::sys::{mutex, reserve};

/// The most events that are kept, 64 MB of them. Later ones are counted only.
const MAX_EVENTS: usize = 1 << 20;
/// How long a report waits for pieces of work that may be about to end.
const LAST_ENDS: Duration = Duration::from_millis(10);

/// A piece of work, or a wait inside of one.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    /// `None` for a wait.
    pub(crate) work: Option<WorkKind>,
    pub(crate) function: &'static str,
    pub(crate) pool: &'static str,
    pub(crate) pool_kind: Kind,
    pub(crate) items: u32,
    /// Nanoseconds in the queue; `u64::MAX` if unknown.
    pub(crate) queued: u64,
    /// In ticks.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What a thread has run.
struct Lane {
    thread: String,
    events: Mutex<Vec<Event>>,
}

/// The lists of all threads, and the number of reports that are being made.
struct Recorder {
    lanes: Vec<Arc<Lane>>,
    reports: usize,
}

static RECORDER: Mutex<Recorder> = Mutex::new(Recorder { lanes: Vec::new(), reports: 0 });
/// Counts the times that the lists were emptied: a thread with an older list makes a new one.
static GENERATION: AtomicU64 = AtomicU64::new(1);
/// The events in all lists.
static EVENTS: AtomicUsize = AtomicUsize::new(0);
/// The pieces of work that have begun and whose end is not recorded.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// The events that were not kept.
static LOST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The list of this thread, and the generation that it is of.
    static LANE: RefCell<Option<(u64, Arc<Lane>)>> = const { RefCell::new(None) };
    /// The pieces of work that this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// An event that has begun. It ends when this is dropped.
pub(crate) struct Recording(Event);

/// A piece of work starts, which was queued for this long.
pub(super) fn start(work: Work<'_>, queued: Option<Duration>) -> Recording {
    OPEN.fetch_add(1, Ordering::Relaxed);
    if work.kind != WorkKind::Future {
        DEPTH.set(DEPTH.get() + 1);
    }
    Recording(Event {
        work: Some(work.kind),
        function: work.function,
        pool: work.core.name,
        pool_kind: work.core.kind,
        items: u32::try_from(work.items).unwrap_or(u32::MAX),
        queued: queued.map_or(u64::MAX, |queued| u64::try_from(queued.as_nanos()).unwrap_or(u64::MAX)),
        start: Moment::now().ticks(),
        end: 0,
    })
}

/// A wait starts; `None` if no report is being made, or this thread is not inside of a piece of work.
#[inline]
pub(super) fn start_wait() -> Option<Recording> {
    (is_measured_for(REPORTS) && DEPTH.get() > 0).then(|| {
        let (function, pool, pool_kind) = ("", "", Kind::Cpu);
        let start = Moment::now().ticks();
        Recording(Event { work: None, function, pool, pool_kind, items: 0, queued: u64::MAX, start, end: 0 })
    })
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !matches!(self.0.work, None | Some(WorkKind::Future)) {
            // The thread may have begun it before it was told to forget its parent.
            DEPTH.set(DEPTH.get().saturating_sub(1));
        }
        if is_measured_for(REPORTS) {
            self.0.end = Moment::now().ticks();
            add(self.0);
        }
        if self.0.work.is_some() {
            OPEN.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Adds an event to the list of this thread.
fn add(event: Event) {
    let is_kept = EVENTS.fetch_add(1, Ordering::Relaxed) < MAX_EVENTS
        && LANE.try_with(|own| push(&mut *own.try_borrow_mut().ok()?, event)).ok().flatten().is_some();
    if !is_kept {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// `None` if the event cannot be kept: the allocator of the program may be what records it.
fn push(own: &mut Option<(u64, Arc<Lane>)>, event: Event) -> Option<()> {
    let generation = GENERATION.load(Ordering::Acquire);
    if own.as_ref().is_none_or(|(of, _)| *of != generation) {
        *own = Some((generation, new_lane()));
    }
    let (_, lane) = own.as_ref()?;
    // Only the end of a report holds this lock for long.
    let mut events = match lane.events.try_lock() {
        Ok(events) => events,
        Err(TryLockError::Poisoned(events)) => events.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    events.push(event);
    Some(())
}

/// Makes a list for this thread.
#[cold]
fn new_lane() -> Arc<Lane> {
    let thread = std::thread::current().name().unwrap_or("a thread without a name").to_owned();
    let lane = Arc::new(Lane { thread, events: Mutex::new(Vec::with_capacity(64)) });
    let mut recorder =
        reserve::lock_with_capacity(|| mutex::lock(&RECORDER), |recorder: &mut Recorder| &mut recorder.lanes, 1);
    recorder.lanes.push(Arc::clone(&lane));
    lane
}

/// A report that is being made.
pub(crate) struct ReportClock {
    started: Instant,
    ticks: u64,
}

/// What was recorded for a report.
pub(crate) struct Recorded {
    pub(crate) wall: Duration,
    /// The name of each thread, with its events, whose times are nanoseconds from the begin of the report.
    pub(crate) lanes: Vec<(String, Vec<Event>)>,
    /// The events that were not kept.
    pub(crate) lost: usize,
}

impl ReportClock {
    /// Begins to record.
    pub(crate) fn start() -> Self {
        let ticks = Moment::now().ticks();
        mutex::lock(&RECORDER).reports += 1;
        measure_for(REPORTS, true);
        Self { started: Instant::now(), ticks }
    }

    /// Ends the report.
    pub(crate) fn finish(self) -> Recorded {
        let now = Instant::now();
        let (wall, ticks) = (now - self.started, Moment::now().ticks().saturating_sub(self.ticks));
        // A scope ends with the closures of its tasks, just before their ends are recorded.
        while OPEN.load(Ordering::Acquire) > 0 && now.elapsed() < LAST_ENDS {
            std::thread::yield_now();
        }
        let lanes = mutex::lock(&RECORDER).lanes.clone();
        let mut recorded = Vec::with_capacity(lanes.len());
        // By both clocks at both ends, as the rate of the cheap one is known to some per cent only.
        let nanoseconds = |ticks_since: u64| {
            let nanoseconds = u128::from(ticks_since) * wall.as_nanos() / u128::from(ticks.max(1));
            u64::try_from(nanoseconds).unwrap_or(u64::MAX)
        };
        for lane in lanes {
            let mut events = Vec::new();
            let own = reserve::lock_with_buffer(|| mutex::lock(&lane.events), |own| own.len(), &mut events);
            events.extend_from_slice(&own);
            drop(own);
            let since = |at: u64| nanoseconds(at.saturating_sub(self.ticks));
            let events: Vec<Event> = events
                .into_iter()
                .filter(|event| event.end >= self.ticks)
                .map(|event| Event { start: since(event.start), end: since(event.end), ..event })
                .collect();
            if !events.is_empty() {
                recorded.push((lane.thread.clone(), events));
            }
        }
        Recorded { wall, lanes: recorded, lost: LOST.load(Ordering::Relaxed) }
    }
}

impl Drop for ReportClock {
    fn drop(&mut self) {
        let mut recorder = mutex::lock(&RECORDER);
        recorder.reports -= 1;
        if recorder.reports > 0 {
            return;
        }
        measure_for(REPORTS, false);
        let lanes = take(&mut recorder.lanes);
        GENERATION.fetch_add(1, Ordering::Release);
        EVENTS.store(0, Ordering::Relaxed);
        LOST.store(0, Ordering::Relaxed);
        drop(recorder);
        drop(lanes);
    }
}

/// In a forked child: nothing is recorded there. Another thread may have held the lock of the lists.
#[cfg(all(unix, not(miri)))]
pub(super) fn forget_parent() {
    measure_for(REPORTS, false);
    DEPTH.set(0);
    OPEN.store(0, Ordering::Relaxed);
}
