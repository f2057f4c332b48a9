//! [`State`]: what the queue's lock guards, which is the jobs and the number of threads in each state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lanes::Lanes;
use super::sleepers::{PendingWakes, Sleepers};
use crate::pool::broadcast::{Member, OpenBroadcast};
use crate::pool::job::Job;
use crate::sys::clock::Moment;

/// Whose jobs have their turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Queue,
    Deques,
}

/// What the resident worker of a cpu pool does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResidentState {
    /// It serves the queue, or was woken to do so.
    Active,
    /// It is parked, and was not woken.
    Parked,
}

/// The jobs, and how many threads are in each state.
///
/// A thread that is on its way to the queue is counted in one of `woken`, `starting` and `injected`. It leaves that
/// count when it takes the lock.
pub(crate) struct State {
    /// The jobs that are in no deque, without tasks of high and of low priority.
    pub(crate) jobs: VecDeque<Arc<dyn Job>>,
    /// The tasks of high and of low priority.
    pub(crate) lanes: Lanes,
    /// Where the next job is looked for first.
    pub(crate) turn: Turn,
    /// Upper bound of the queued copies of closed leases, which are dead.
    pub(crate) closed_copies: usize,
    /// Permits in all.
    pub(crate) limit: usize,
    /// Rayon's threads of a cpu pool, which stay however small the limit becomes.
    pub(crate) rayon_threads: usize,
    /// Permits in use: workers that run a job and are not blocked.
    pub(crate) running: usize,
    /// Permits in use that were taken beyond the limit.
    pub(crate) overdrawn: usize,
    /// Workers inside of a job that are in a blocking section, and have given their permit back.
    pub(crate) blocked: usize,
    /// One waker for each of those workers.
    pub(crate) blocked_wakers: Vec<Waker>,
    /// Workers inside of a job that has timed out. Their permits were given to other workers.
    pub(crate) written_off: usize,
    /// Workers that have left a blocking section and wait for a permit. They have priority over queued jobs.
    pub(crate) reacquiring: usize,
    /// How often a permit was returned while a worker waited for one, or was overdrawn.
    pub(crate) handoffs: u64,
    /// Threads that exist or are being started. In a cpu pool: rayon's threads, and the spare threads.
    pub(crate) threads: usize,
    /// Plain threads that spin. They see a new job without being woken.
    pub(crate) spinning: usize,
    /// Plain threads that are parked, and not woken.
    pub(crate) sleepers: Sleepers,
    /// Threads that were parked and woken, and have not taken the lock yet.
    pub(crate) woken: usize,
    /// When a parked worker was last woken.
    pub(crate) last_wake: Moment,
    /// Rayon's threads that serve the queue and spin. They see a new job without being woken.
    pub(crate) rayon_spinning: usize,
    /// Threads that were spawned, and have not taken the lock yet.
    pub(crate) starting: usize,
    /// Threads that run the pool's start hook, for an unknown time. They serve the queue when it has ended.
    pub(crate) in_start_hook: usize,
    /// Requests to serve the queue that were injected into rayon, and that no thread of rayon's has taken yet.
    pub(crate) injected: usize,
    /// Rayon's threads that serve the queue, without the resident worker.
    pub(crate) rayon_serving: usize,
    pub(crate) resident: ResidentState,
    /// How many spare threads may run in the place of blocked workers.
    pub(crate) max_spares: usize,
    /// Thread starts that are to be tried again.
    pub(crate) spawn_retry: Option<SpawnRetry>,
    /// How many jobs workers have finished. Each of them then looks for another job.
    pub(crate) jobs_finished: u64,
    /// The number in the next thread's name.
    pub(crate) next_thread_index: usize,
    /// Whether the pool takes no more jobs.
    pub(crate) closed: bool,
    /// Overflow workers, which `threads` does not count: each runs one job and ends.
    pub(crate) overflow_threads: usize,
    /// Plain threads, to be joined at the end.
    pub(crate) handles: Vec<JoinHandle<()>>,
    /// The pool's own threads, overflow workers excepted.
    pub(crate) members: Vec<Arc<Member>>,
    /// Broadcasts that some of them have not run yet, in the order of their numbers.
    pub(crate) broadcasts: Vec<OpenBroadcast>,
    /// Rayon's threads of a cpu pool, until it is shut down.
    pub(crate) rayon: Option<Arc<rayon::ThreadPool>>,
}

impl State {
    pub(crate) fn new(limit: usize, rayon_threads: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            lanes: Lanes::default(),
            turn: Turn::Queue,
            closed_copies: 0,
            limit,
            rayon_threads,
            running: 0,
            overdrawn: 0,
            blocked: 0,
            blocked_wakers: Vec::new(),
            written_off: 0,
            reacquiring: 0,
            handoffs: 0,
            threads: 0,
            spinning: 0,
            sleepers: Sleepers::default(),
            woken: 0,
            last_wake: Moment::now(),
            rayon_spinning: 0,
            starting: 0,
            in_start_hook: 0,
            injected: 0,
            rayon_serving: 0,
            resident: ResidentState::Active,
            max_spares: default_spares(limit),
            spawn_retry: None,
            jobs_finished: 0,
            next_thread_index: 0,
            closed: false,
            overflow_threads: 0,
            handles: Vec::new(),
            members: Vec::new(),
            broadcasts: Vec::new(),
            rayon: None,
        }
    }

    /// The number of jobs that are in no deque.
    #[inline]
    pub(crate) fn shared_jobs(&self) -> usize {
        self.jobs.len() + self.lanes.len()
    }

    /// Takes a permit without a job; `false` if none is free.
    pub(crate) fn try_permit(&mut self) -> bool {
        let is_free = self.has_permit();
        self.running += usize::from(is_free);
        is_free
    }

    /// How many threads will look at the queue soon: they are on their way to it, or spin.
    #[inline]
    pub(crate) fn on_the_way(&self) -> usize {
        self.woken + self.starting + self.injected + self.spinning + self.rayon_spinning
    }

    /// Whether a permit is free for a job.
    #[inline]
    pub(crate) fn has_permit(&self) -> bool {
        self.running + self.reacquiring < self.permits()
    }

    /// The number of permits, with those that were taken beyond the limit. Were these not counted, jobs that wait again
    /// and again with a time limit, and overdraw each time, would keep all others from running.
    #[inline]
    pub(crate) fn permits(&self) -> usize {
        self.limit + self.overdrawn
    }

    /// Marks up to `count` parked threads as woken, [`WAKE_FANOUT`](super::sleepers::WAKE_FANOUT) at most.
    #[inline]
    pub(crate) fn begin_wake(&mut self, count: usize) -> PendingWakes {
        let woken = self.sleepers.begin_wake(count);
        if woken.len() > 0 {
            self.woken += woken.len();
            self.last_wake = Moment::now();
        }
        woken
    }

    /// Wakes all parked threads.
    pub(crate) fn wake_all(&mut self) {
        self.woken += self.sleepers.wake_all();
    }

    /// Marks the resident worker as woken if it is parked. Returns whether it is: then its condition variable must be
    /// notified once the lock is free.
    #[inline]
    pub(crate) fn begin_wake_resident(&mut self) -> bool {
        let is_parked = self.resident == ResidentState::Parked;
        if is_parked {
            self.resident = ResidentState::Active;
            self.woken += 1;
            self.last_wake = Moment::now();
        }
        is_parked
    }
}

/// What a pool records while it does not get the threads that it needs.
pub(in crate::pool) struct SpawnRetry {
    /// The pause until the next check.
    pub(in crate::pool) pause: Duration,
    /// Whether the operating system refused the last start.
    pub(in crate::pool) is_refused: bool,
    /// The queue's count of finished jobs at the last check.
    pub(in crate::pool) jobs_finished: u64,
    /// When a check last saw that count change, or started one more spare thread.
    pub(in crate::pool) progress_at: Instant,
}

/// How many spare threads may run in the place of blocked workers before more of them are capped: as many as the pool
/// has permits, and at least 4, so that waits of small pools nest without a pause.
pub(in crate::pool) fn default_spares(limit: usize) -> usize {
    limit.max(4)
}
