//! Tasks: the cost of submitting and joining, compared with other libraries and with a plain thread and queue.

use std::collections::VecDeque;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, join_all};
use fanfold_benches::{Contest, Outcome, Report};

use crate::ways::{TOKIO, runtime, threads};

const CPU: &str = "fanfold cpu";
const IO: &str = "fanfold io";
const RAYON: &str = "rayon spawn + channel";
const THREADPOOL: &str = "threadpool + channel";
/// The cost of waking a thread and being woken on this machine, without any library.
const BY_HAND: &str = "a thread, mutex and condvar by hand";
const PIPELINED: u16 = 10_000;

/// A way to run many empty tasks: submits all, then waits for all.
type Way<'a> = Box<dyn Fn(usize) + Sync + 'a>;

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    let by_hand = ByHand::start();
    let ways: [(&str, Way<'_>); 6] = [
        (CPU, Box::new(|n| on_pool(Pool::cpu_default(), n))),
        (IO, Box::new(|n| on_pool(Pool::io_default(), n))),
        (RAYON, Box::new(|n| by_channel(n, rayon::spawn))),
        (
            TOKIO,
            Box::new(|n| {
                let tasks: Vec<_> = (0..n).map(|_| runtime.spawn_blocking(|| ())).collect();
                runtime.block_on(async {
                    for task in tasks {
                        task.await.expect("no panic");
                    }
                });
            }),
        ),
        (
            THREADPOOL,
            Box::new(|n| {
                let threads = threads();
                by_channel(n, |sender| threads.execute(sender));
            }),
        ),
        (BY_HAND, Box::new(|n| by_hand.run(n))),
    ];

    let hot = contest("one empty task, submitted and joined, one after the other", &ways, |way| {
        let start = Instant::now();
        way(1);
        start.elapsed()
    });
    bars(report, hot, 5.0, 10.0, 1.0);

    let idle = contest("one empty task, submitted and joined, after 10 ms of idleness", &ways, |way| {
        thread::sleep(Duration::from_millis(10));
        let start = Instant::now();
        way(1);
        start.elapsed()
    });
    bars(report, idle, 15.0, 50.0, 1.0);

    let pipelined = contest("10,000 empty tasks, submitted and then joined, all of them", &ways, |way| {
        let start = Instant::now();
        way(usize::from(PIPELINED));
        start.elapsed()
    });
    bars(report, pipelined, 0.5, 0.6, f64::from(PIPELINED));

    for submitters in [1, 8, 64] {
        let title = format!("{submitters} threads at once, each submits and joins 100 tasks one after the other");
        let outcome = contest(&title, &ways, |way| {
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..submitters {
                    scope.spawn(|| (0..100).for_each(|_| way(1)));
                }
            });
            start.elapsed()
        });
        if let Some(outcome) = report.run(outcome) {
            against_libraries(outcome);
        }
        println!();
    }
    sleepers(report);
}

fn contest<'a>(
    title: &str,
    ways: &'a [(&str, Way<'_>)],
    measure: impl Fn(&Way<'_>) -> Duration + Copy + 'a,
) -> Contest<'a> {
    let mut contest = Contest::new(title).rounds(7, Duration::from_millis(80));
    for (name, way) in ways {
        contest = contest.with_timed(*name, move || measure(way));
    }
    contest
}

/// Targets for the time of one task in microseconds, and against the peers of the same run.
fn bars(report: &mut Report, contest: Contest<'_>, io_limit: f64, cpu_limit: f64, tasks: f64) {
    let Some(outcome) = report.run(contest) else { return };
    let micros = |name, outcome: &Outcome| outcome.time(name).as_secs_f64() * 1e6 / tasks;
    let (io, cpu) = (micros(IO, outcome), micros(CPU, outcome));
    outcome.bar("io, us for each task", io, io_limit);
    outcome.bar("cpu, us for each task", cpu, cpu_limit);
    against_libraries(outcome);
    println!();
}

fn against_libraries(outcome: &mut Outcome) {
    for ours in [CPU, IO] {
        let worst = [RAYON, TOKIO, THREADPOOL].map(|peer| outcome.ratio(ours, peer)).into_iter().fold(0.0, f64::max);
        outcome.bar(format!("{ours} against the fastest library"), worst, 1.0);
    }
}

/// One thread that takes closures from a queue: the simplest implementation.
struct ByHand(Arc<(Mutex<VecDeque<Job>>, Condvar)>);

type Job = Box<dyn FnOnce() + Send>;

impl ByHand {
    fn start() -> Self {
        let shared = Arc::new((Mutex::new(VecDeque::<Job>::new()), Condvar::new()));
        let queue = Arc::clone(&shared);
        thread::spawn(move || {
            loop {
                let mut jobs = queue.0.lock().expect("no panic");
                let job = loop {
                    match jobs.pop_front() {
                        Some(job) => break job,
                        None => jobs = queue.1.wait(jobs).expect("no panic"),
                    }
                };
                drop(jobs);
                job();
            }
        });
        Self(shared)
    }

    fn run(&self, tasks: usize) {
        let slots: Vec<_> = (0..tasks)
            .map(|_| {
                let slot = Arc::new((Mutex::new(false), Condvar::new()));
                let done = Arc::clone(&slot);
                self.0.0.lock().expect("no panic").push_back(Box::new(move || {
                    *done.0.lock().expect("no panic") = true;
                    done.1.notify_one();
                }));
                self.0.1.notify_one();
                slot
            })
            .collect();
        for slot in slots {
            let mut done = slot.0.lock().expect("no panic");
            while !*done {
                done = slot.1.wait(done).expect("no panic");
            }
        }
    }
}

fn on_pool(pool: &Pool, tasks: usize) {
    if tasks == 1 {
        return pool.submit(|| ()).join().expect("no panic");
    }
    let tasks: Vec<_> = (0..tasks).map(|_| pool.submit(|| ())).collect();
    tasks.into_iter().for_each(|task| task.join().expect("no panic"));
}

/// Runs tasks that each send to a channel of their own when they are done.
pub(crate) fn by_channel(tasks: usize, spawn: impl Fn(Box<dyn FnOnce() + Send>)) {
    let receivers: Vec<_> = (0..tasks)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel(1);
            spawn(Box::new(move || sender.send(()).expect("the receiver waits")));
            receiver
        })
        .collect();
    receivers.into_iter().for_each(|receiver| receiver.recv().expect("no panic"));
}

/// Tasks that sleep, each on a thread of its own: with threads that must be started, and with running ones.
fn sleepers(report: &mut Report) {
    for tasks in [200, 1_000] {
        let title = format!("{tasks} tasks that sleep 50 ms");
        if !report.wants(&title) {
            continue;
        }
        let sleep = || thread::sleep(Duration::from_millis(50));
        let by_hand = timed(|| {
            let threads: Vec<_> = (0..tasks).map(|_| thread::spawn(sleep)).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
        let bare = timed(|| bare_threads(tasks));
        let pool = Pool::io("sleepers").threads(tasks).build().expect("threads start");
        let ours = || drop(join_all((0..tasks).map(|_| pool.submit(sleep))).expect("no panic"));
        let (cold, warm) = (timed(ours), timed(ours));
        let times = [
            ("threads by hand".into(), by_hand),
            ("pthread_create on two threads".into(), bare),
            (IO.into(), cold),
            ("fanfold io, on running threads".into(), warm),
        ];
        let outcome = report.keep(Outcome::measured(title, times));
        outcome.bar("ms, including the start of the threads", cold.as_secs_f64() * 1e3, 60.0);
        outcome.bar("ms, on running threads", warm.as_secs_f64() * 1e3, 60.0);
        outcome.bar("against pthread_create on two threads", cold.as_secs_f64() / bare.as_secs_f64(), 1.0);
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The operating system's cost without any library: two threads start half of the sleeping threads each.
fn bare_threads(tasks: usize) {
    extern "C" fn sleep(_: *mut libc::c_void) -> *mut libc::c_void {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        // SAFETY: `time` is valid for the read, and the remaining time may be null.
        unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
        ptr::null_mut()
    }
    let some = |count| {
        let start = |_| {
            let mut thread = 0;
            // SAFETY: `thread` is valid for the write; null means default attributes, and `sleep` ignores its argument.
            let refused = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), sleep, ptr::null_mut()) };
            assert_eq!(refused, 0, "no thread starts");
            thread
        };
        (0..count).map(start).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let half = scope.spawn(move || some(tasks / 2));
        let mut threads = some(tasks - tasks / 2);
        threads.extend(half.join().expect("no panic"));
        for thread in threads {
            // SAFETY: every thread was created above and is joined once.
            unsafe { libc::pthread_join(thread, ptr::null_mut()) };
        }
    });
}
