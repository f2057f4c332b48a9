//! Signals and worker processes: signals to the process group reach only the parent, a cancelling shutdown kills
//! running tasks, stopped workers do not delay a shutdown, and deaths are reported however the program reaps children.
#![cfg(target_os = "linux")]

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fanfold::{Pending, Pool, Receiver, Sender, Task, TaskError, cancelled, channel, join_all, parallel};

fanfold::process_tests!();

/// Set in the process that runs the body of a test.
const IN_CHILD: &str = "FANFOLD_TEST_BODY";

/// Runs the body of the test in a process of its own, which leads a process group.
fn in_child(test: &str, body: fn()) {
    if std::env::var_os(IN_CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    let status = child.args([test, "--exact", "--nocapture"]).env(IN_CHILD, "yes").process_group(0).status();
    let status = status.expect("this program starts again");
    assert!(status.success(), "{status}");
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: `kill` takes numbers; the process belongs to this test.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

fn handle(signal: i32, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: a zeroed action is valid, and the handlers of this file are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn send_pid_and_wait(sender: Sender<u32>, go_on: Receiver<u32>) -> Result<u32, TaskError> {
    sender.send(process::id()).expect("the test listens");
    Ok(go_on.recv().expect("the test answers"))
}

#[parallel(kind = "process", pool = WORKERS)]
fn pid() -> Result<u32, TaskError> {
    Ok(process::id())
}

#[parallel(kind = "process", pool = WORKERS)]
fn status_of(command: String) -> Option<i32> {
    Command::new("sh").args(["-c", &command]).status().expect("there is a shell").signal()
}

#[parallel(kind = "process", pool = WORKERS)]
fn run_forever(sender: Sender<u32>) -> Result<u32, TaskError> {
    sender.send(process::id()).expect("the test listens");
    loop {
        std::thread::park();
    }
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

const GROUP: [i32; 6] = [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

#[test]
fn signals_to_the_process_group_reach_only_the_parent() {
    in_child("signals_to_the_process_group_reach_only_the_parent", || {
        GROUP.iter().for_each(|signal| handle(*signal, count, libc::SA_RESTART));
        let ((sender, receiver), (answer, go_on)) = (channel(), channel());
        let task = send_pid_and_wait::submit(sender, go_on);
        let worker = receiver.recv().expect("it runs");
        for (sent, group_signal) in (1..).zip(GROUP) {
            // SAFETY: `kill` takes numbers; this process leads its group.
            assert_eq!(unsafe { libc::kill(0, group_signal) }, 0);
            while SIGNALS.load(Ordering::Relaxed) < sent {
                std::thread::yield_now();
            }
        }
        answer.send(7).expect("it listens");
        assert_eq!(task.join().expect("the worker lives").expect("no error"), 7);
        assert_eq!(pid().expect("the same worker"), worker);
        // Programs that a task starts receive the signals as usual.
        for group_signal in GROUP {
            assert_eq!(status_of(format!("kill -{group_signal} $$")), Some(group_signal));
        }
    });
}

#[test]
fn a_worker_killed_by_a_signal_while_it_starts_is_restarted() {
    in_child("a_worker_killed_by_a_signal_while_it_starts_is_restarted", || {
        handle(libc::SIGTERM, count, libc::SA_RESTART);
        let signals = std::thread::spawn(|| {
            for _ in 0..20 {
                // SAFETY: `kill` takes numbers; this process leads its group.
                unsafe { libc::kill(0, libc::SIGTERM) };
                std::thread::yield_now();
            }
        });
        let pids = join_all((0..20).map(|_| pid::submit())).expect("a worker starts");
        assert!(pids.iter().all(Result::is_ok));
        signals.join().expect("no panic");
    });
}

#[test]
fn a_cancelling_shutdown_kills_processes_and_cancels_threads() {
    static PROCESSES: Pool = Pool::process("cancelled").threads(2);
    #[parallel(kind = "process", pool = PROCESSES)]
    fn endless(sender: Sender<u32>) -> Result<u32, TaskError> {
        sender.send(process::id()).expect("the test listens");
        loop {
            std::hint::spin_loop();
        }
    }
    let (sender, receiver) = channel();
    let task = endless::submit(sender.clone());
    let there = sender.clone();
    let direct = std::thread::spawn(move || endless(there));
    let pids = [receiver.recv(), receiver.recv()].map(|pid| pid.expect("it runs"));
    let queued: Vec<_> = (0..10).map(|_| endless::submit(sender.clone())).collect();
    PROCESSES.shutdown(Pending::Cancel);
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert!(matches!(direct.join().expect("no panic"), Err(TaskError::Cancelled)));
    for task in queued {
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
    for pid in pids {
        // SAFETY: signal 0 only checks whether the process exists.
        assert_eq!(unsafe { libc::kill(pid.cast_signed(), 0) }, -1, "a worker runs on");
    }
    assert!(matches!(endless::submit(sender).join(), Err(TaskError::PoolClosed)));
    for pool in [Pool::io("asked"), Pool::cpu("asked")] {
        let pool = pool.threads(2).build().expect("there are threads");
        let (sender, receiver) = std::sync::mpsc::channel();
        let runs = |n: u32| {
            let sender = sender.clone();
            move || {
                sender.send(()).expect("the test listens");
                while !cancelled() {
                    std::thread::yield_now();
                }
                n
            }
        };
        let running: Vec<Task<u32>> = (0..2).map(|n| pool.submit(runs(n))).collect();
        let queued = pool.submit(runs(9));
        (0..2).for_each(|_| receiver.recv().expect("both run"));
        assert!(!cancelled());
        pool.shutdown(Pending::Cancel);
        assert_eq!(join_all(running).expect("they return"), [0, 1]);
        assert!(matches!(queued.join(), Err(TaskError::Cancelled)));
        assert!(!cancelled(), "this thread runs no task of the pool");
    }
}

#[test]
fn a_shutdown_of_all_pools_ends_within_its_time_limit() {
    in_child("a_shutdown_of_all_pools_ends_within_its_time_limit", || {
        let (sender, receiver) = channel();
        let task = run_forever::submit(sender);
        receiver.recv().expect("it runs");
        assert!(!fanfold::shutdown(Duration::from_millis(50)), "it runs for ever");
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert!(fanfold::shutdown(Duration::from_secs(60)));
    });
}

#[parallel(kind = "process")]
fn pause_at_exit(pause: bool) -> Result<u32, TaskError> {
    extern "C" fn for_ever() {
        loop {
            // SAFETY: `pause` only waits for a signal.
            unsafe { libc::pause() };
        }
    }
    if pause {
        // SAFETY: the handler is a function of this program, and does not unwind.
        assert_eq!(unsafe { libc::atexit(for_ever) }, 0);
    }
    // Long enough for each worker of the pool to get one of the tasks.
    std::thread::sleep(Duration::from_millis(20));
    Ok(process::id())
}

/// A pool of eight workers, all of which have run a task.
fn pool_of_eight(pause: bool) -> (Pool, Vec<u32>) {
    let pool = Pool::process("eight").threads(8).build().expect("there are threads");
    let mut pids = Vec::new();
    while pids.len() < 8 {
        pids.extend(pause_at_exit::map([pause; 32]).on(&pool).chunk_size(1).collect::<Vec<_>>().into_iter().flatten());
        pids.sort_unstable();
        pids.dedup();
    }
    (pool, pids)
}

/// Checks the time of a shutdown. Eight workers that took their full time one after another would need 40 s.
fn assert_drops_quickly(pool: Pool) {
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[test]
fn stopped_workers_do_not_delay_the_end_of_their_pool() {
    let (pool, pids) = pool_of_eight(false);
    pids.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
    assert_drops_quickly(pool);
}

#[test]
fn workers_that_do_not_end_share_one_grace_period() {
    let (pool, _) = pool_of_eight(true);
    assert_drops_quickly(pool);
}

static TIMED: Pool = Pool::process("timed").threads(1);

#[parallel(kind = "process", pool = TIMED, timeout = "500ms")]
fn stop_itself() -> Result<u32, TaskError> {
    signal(process::id(), libc::SIGSTOP);
    Ok(process::id())
}

#[test]
fn a_timeout_ends_a_stopped_worker() {
    assert!(matches!(stop_itself(), Err(TaskError::TimedOut { .. })));
    let task = stop_itself::submit();
    assert!(matches!(task.join(), Err(TaskError::TimedOut { .. })));
}

#[parallel(kind = "process", pool = WORKERS)]
fn die(how: i32) -> Result<u32, TaskError> {
    match how {
        0 => process::exit(7),
        signal => self::signal(process::id(), signal),
    }
    loop {
        std::thread::park();
    }
}

/// Processor time of this process.
fn processor_time() -> Duration {
    // SAFETY: `usage` is valid for the write.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::new(time.tv_sec.cast_unsigned(), 0) + Duration::from_micros(time.tv_usec.cast_unsigned())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Whether the kernel keeps the exit status of a process that was reaped elsewhere: since Linux 6.15.
fn kernel_keeps_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it can be read");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// Checks that the errors name how workers died, and that no busy wait for a lost exit status takes processor time.
fn deaths_are_reported() {
    let before = processor_time();
    for how in [libc::SIGKILL, libc::SIGSEGV, 0, libc::SIGABRT] {
        for direct in [true, false] {
            let error =
                if direct { die(how).expect_err("it dies") } else { die::submit(how).join().expect_err("it dies") };
            let TaskError::WorkerDied { signal, code, message, .. } = &error else { panic!("{error}") };
            let expected = if how == 0 { (None, Some(7)) } else { (Some(how), None) };
            let unknown = (signal, code) == (&None, &None) && message.contains("how is unknown");
            assert!(
                (*signal, *code) == expected || (unknown && (cfg!(fanfold_portable) || !kernel_keeps_status())),
                "{error}"
            );
        }
        assert!(pid().is_ok());
    }
    // Busy waiting 500 ms for each of the eight deaths would take 4 s.
    let used = processor_time().saturating_sub(before);
    assert!(used < Duration::from_secs(2), "{used:?}");
    WORKERS.shutdown(Pending::Run);
}

#[test]
fn deaths_are_reported_while_sigchld_is_ignored() {
    in_child("deaths_are_reported_while_sigchld_is_ignored", || {
        // SAFETY: `SIG_IGN` installs no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        deaths_are_reported();
    });
}

#[test]
fn deaths_are_reported_with_sa_nocldwait() {
    in_child("deaths_are_reported_with_sa_nocldwait", || {
        handle(libc::SIGCHLD, count, libc::SA_NOCLDWAIT);
        deaths_are_reported();
    });
}

static COLLECTED: AtomicU64 = AtomicU64::new(0);

fn collect_all(options: libc::c_int) -> bool {
    let mut status = 0;
    // SAFETY: `status` is valid for the write.
    let collected = unsafe { libc::waitpid(-1, &raw mut status, options) } > 0;
    COLLECTED.fetch_add(u64::from(collected), Ordering::Relaxed);
    collected
}

#[test]
fn deaths_are_reported_while_a_handler_reaps_all_children() {
    extern "C" fn collect(_: libc::c_int) {
        // SAFETY: this thread's own error number, which the code that the signal interrupts may be about to read.
        let error = unsafe { *libc::__errno_location() };
        while collect_all(libc::WNOHANG) {}
        // SAFETY: restores this thread's own error number, which is valid for the write.
        unsafe { *libc::__errno_location() = error };
    }
    in_child("deaths_are_reported_while_a_handler_reaps_all_children", || {
        handle(libc::SIGCHLD, collect, 0);
        deaths_are_reported();
    });
}

#[test]
fn deaths_are_reported_while_a_thread_reaps_all_children() {
    in_child("deaths_are_reported_while_a_thread_reaps_all_children", || {
        std::thread::spawn(|| {
            loop {
                if !collect_all(0) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        deaths_are_reported();
    });
}
