//! Forks of workers and of their parent: only the process that was started as a worker replies, and only the one that
//! started it sends requests. The copies that a fork makes affect no other process.
#![cfg(target_os = "linux")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::time::{Duration, Instant};

use fanfold::{Bytes, Pool, Receiver, Sender, TaskError, channel, parallel};
use serde::{Deserialize, Serialize};

fanfold::process_tests!();

/// How a task forks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Call {
    /// Through the C library, which runs the handlers of `pthread_atfork`.
    Library,
    /// By a system call, without those handlers.
    System,
}

/// What the portable transport uses notices no fork but those of the C library, as other systems have no others.
const CALLS: &[Call] = if cfg!(fanfold_portable) { &[Call::Library] } else { &[Call::Library, Call::System] };

/// Forks; gives 0 in the copy, and its process id in the original.
fn fork(call: Call) -> libc::pid_t {
    // SAFETY: a copy only allocates and calls the library, which the C library supports after a fork.
    unsafe {
        match call {
            Call::Library => libc::fork(),
            Call::System => {
                let none = std::ptr::null::<u8>();
                libc::pid_t::try_from(libc::syscall(libc::SYS_clone, libc::SIGCHLD, none, none, none, none))
                    .expect("a process id")
            }
        }
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::yield_now();
    }
}

/// Whether a process runs. A zombie does not.
fn runs(pid: libc::pid_t) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Forks, and makes the original wait until the copy has ended. The copy ends by itself or not at all.
fn fork_and_wait_for_the_copy(call: Call) -> libc::pid_t {
    let copy = fork(call);
    if copy != 0 {
        wait_until("the copy ends", || !runs(copy));
    }
    copy
}

/// Forks, and makes the copy wait until the file exists.
fn fork_and_delay_the_copy(call: Call, until: &Path) -> libc::pid_t {
    let copy = fork(call);
    while copy == 0 && !until.exists() {
        std::thread::yield_now();
    }
    copy
}

/// A pool with one worker for each test, because the tests run at the same time.
macro_rules! worker {
    ($pool:ident, $square:ident) => {
        static $pool: Pool = Pool::process("one").threads(1);

        #[parallel(kind = "process", pool = $pool)]
        fn $square(n: u64) -> (u64, u32) {
            (n * n, id())
        }
    };
}

worker!(FIRST, square_first);

#[parallel(kind = "process", pool = FIRST)]
fn forks(call: Call) -> u64 {
    u64::from(fork_and_wait_for_the_copy(call) != 0)
}

#[parallel(kind = "process", pool = FIRST)]
fn forks_with_a_large_result(call: Call) -> Vec<u8> {
    let is_worker = fork_and_wait_for_the_copy(call) != 0;
    vec![u8::from(is_worker); 3 << 20]
}

#[parallel(kind = "process", pool = FIRST)]
fn forks_and_fails(call: Call) -> Result<u64, String> {
    let is_worker = fork_and_wait_for_the_copy(call) != 0;
    Err(format!("the worker: {is_worker}"))
}

#[parallel(kind = "process", pool = FIRST)]
fn forks_and_panics(call: Call) -> u64 {
    let is_worker = fork_and_wait_for_the_copy(call) != 0;
    panic!("the worker: {is_worker}");
}

#[parallel(kind = "process", pool = FIRST)]
fn forks_at_ten(call: Call, n: u64) -> u64 {
    if n == 10 { 10 * u64::from(fork_and_wait_for_the_copy(call) != 0) } else { n }
}

/// Forks while its result is serialized.
#[derive(Deserialize)]
struct ForksWhenWritten(u64);

impl Serialize for ForksWhenWritten {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_worker = fork_and_wait_for_the_copy(Call::System) != 0;
        (self.0 * u64::from(is_worker)).serialize(serializer)
    }
}

#[parallel(kind = "process", pool = FIRST)]
fn forks_when_written(n: u64) -> ForksWhenWritten {
    ForksWhenWritten(n)
}

#[test]
fn a_copy_that_returns_before_the_worker_sends_no_reply() {
    let worker = square_first(1).1;
    let mut next = 1;
    let mut check = || {
        for _ in 0..5 {
            next += 1;
            assert_eq!(square_first(next), (next * next, worker));
        }
    };
    for &call in CALLS {
        assert_eq!(forks(call), 1);
        check();
        assert!(forks_with_a_large_result(call).iter().all(|byte| *byte == 1));
        check();
        assert_eq!(forks_and_fails(call), Err("the worker: true".into()));
        check();
        let error = forks_and_panics::submit(call).join().expect_err("it panics");
        assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "the worker: true"), "{error}");
        check();
        let numbers: Vec<u64> = forks_at_ten::map((0..100).map(|n| (call, n))).collect();
        assert!(numbers.into_iter().eq(0..100));
        check();
    }
    assert_eq!(forks_when_written(7).0, 7);
    check();
}

worker!(SECOND, square_second);

#[parallel(kind = "process", pool = SECOND)]
fn leaves_a_copy(call: Call, until: PathBuf) -> libc::pid_t {
    fork_and_delay_the_copy(call, &until)
}

#[parallel(kind = "process", pool = SECOND)]
fn leaves_a_copy_that_panics(call: Call, until: PathBuf) -> libc::pid_t {
    let copy = fork_and_delay_the_copy(call, &until);
    assert!(copy != 0, "this is the copy");
    copy
}

#[test]
fn a_copy_that_returns_after_the_worker_sends_no_reply() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let worker = square_second(1).1;
    for &call in CALLS {
        for (name, leave) in [("returns", leaves_a_copy as fn(_, _) -> _), ("panics", leaves_a_copy_that_panics)] {
            let file = folder.path().join(format!("{name} {call:?}"));
            let copy = leave(call, file.clone());
            assert!(copy > 0 && (2..5).all(|n| square_second(n) == (n * n, worker)));
            assert!(runs(copy), "it waits for the file");
            std::fs::write(file, "").expect("it can be written");
            wait_until("the copy ends", || !runs(copy));
            assert!((2..5).all(|n| square_second(n) == (n * n, worker)));
        }
    }
}

worker!(THIRD, square_third);

#[parallel(kind = "process", pool = THIRD)]
fn send_pid_in_both(call: Call, sender: Sender<u32>) -> libc::pid_t {
    let copy = fork_and_delay_the_copy(call, Path::new("/"));
    sender.send(id()).expect("the receiver is alive");
    copy
}

#[test]
fn a_copy_sends_nothing_on_a_channel() {
    for &call in CALLS {
        let (sender, receiver) = channel();
        let copy = send_pid_in_both(call, sender);
        wait_until("the copy ends", || !runs(copy));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [square_third(1).1]);
    }
}

/// Keeps both ends, so that the channel is one of two processes while the test uses it.
#[parallel(kind = "process", pool = THIRD)]
fn keeps_ends(sender: Sender<u32>, receiver: Receiver<u32>, until: PathBuf) -> bool {
    sender.send(1).expect("there is a receiver");
    wait_until("the file is there", || until.exists());
    drop((sender, receiver));
    true
}

/// Runs `in_copy` in a forked copy of this process, and gives what it returns.
fn in_forked_copy(call: Call, in_copy: impl FnOnce() -> bool) -> bool {
    let copy = fork(call);
    if copy == 0 {
        let code = i32::from(!catch_unwind(AssertUnwindSafe(in_copy)).unwrap_or(false));
        // SAFETY: ends the copy without running this process's destructors.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the write.
    assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
    assert!(libc::WIFEXITED(status), "status {status}");
    libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_copy_of_the_parent_loses_nothing_that_it_sends() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for &call in CALLS {
        let (sender, receiver) = channel();
        let until = folder.path().join(format!("{call:?}"));
        let keeps = keeps_ends::submit(sender.clone(), receiver.clone(), until.clone());
        assert_eq!(receiver.recv(), Ok(1));
        let was_sent = in_forked_copy(call, || sender.send(2).is_ok());
        assert_eq!(was_sent, !cfg!(fanfold_portable), "without a socket of the system it is an error");
        let (async_send, async_receive) =
            (|| pollster::block_on(sender.send_async(2)), || pollster::block_on(receiver.recv_async()));
        if was_sent {
            assert_eq!(receiver.recv(), Ok(2));
        } else {
            // Nothing waits, and nothing the copy does reaches this process.
            assert!(in_forked_copy(call, || {
                let is_refused = sender.try_send(2).is_err() && async_send().is_err() && async_receive().is_err();
                let waits = receiver.recv().is_err() && receiver.recv_timeout(Duration::from_secs(60)).is_err();
                let words = sender.send(2).err().is_some_and(|unsent| unsent.to_string().contains("forked"));
                receiver.close();
                drop((sender.clone(), receiver.clone()));
                is_refused && waits && words
            }));
        }
        sender.send(3).expect("the copy closed nothing");
        assert_eq!(receiver.recv(), Ok(3));
        std::fs::write(until, "").expect("it can be written");
        assert!(keeps.join().expect("it ends"));
    }
}

worker!(FOURTH, square_fourth);

#[parallel(kind = "process", pool = FOURTH)]
fn forks_on_threads(call: Call) -> [libc::pid_t; 3] {
    let own = Pool::io("inner").threads(1).build().expect("there are threads");
    let copies = [
        Pool::cpu_default().submit(move || fork(call)).join().expect("it does not panic"),
        own.submit(move || fork(call)).join().expect("it does not panic"),
        std::thread::spawn(move || fork(call)).join().expect("it does not panic"),
    ];
    own.shutdown(fanfold::Pending::Run);
    copies
}

#[test]
fn a_copy_forked_on_another_thread_of_a_worker_ends() {
    for &call in CALLS {
        for copy in forks_on_threads(call) {
            assert!(copy > 0);
            wait_until("the copy ends", || !runs(copy));
        }
        assert_eq!(square_fourth(3).0, 9);
    }
}

#[parallel(kind = "cpu")]
fn forks_at_every_thousandth(call: Call, n: u64) -> libc::pid_t {
    if n.is_multiple_of(1_000) { fork(call) } else { -1 }
}

#[parallel(kind = "io")]
async fn forks_asynchronously(call: Call) -> libc::pid_t {
    fork(call)
}

/// Forks where the original then waits for other threads of the worker, which the copies do not have.
#[parallel(kind = "process", pool = FOURTH)]
fn forks_inside_calls(call: Call) -> Vec<libc::pid_t> {
    let mut copies: Vec<_> = forks_at_every_thousandth::map((0..4_000).map(|n| (call, n))).chunk_size(100).collect();
    copies.push(forks_asynchronously::submit(call).join().expect("it does not panic"));
    copies.push(pollster::block_on(forks_asynchronously(call)));
    copies.retain(|copy| *copy >= 0);
    copies
}

#[test]
fn a_copy_that_would_wait_for_missing_threads_ends() {
    for &call in CALLS {
        let copies = forks_inside_calls(call);
        assert!(copies.len() == 6 && copies.iter().all(|copy| *copy > 0), "{copies:?}");
        for copy in copies {
            wait_until("the copy ends", || !runs(copy));
        }
    }
}

worker!(FIFTH, square_fifth);

#[parallel(kind = "process", pool = FIFTH)]
fn forks_with_vfork() -> u64 {
    /// Starts a child that shares this process's memory, on a stack of its own, as `vfork` and `posix_spawn` do. The
    /// child runs `child` before this process continues.
    fn vfork(child: extern "C" fn(*mut libc::c_void) -> libc::c_int) -> libc::pid_t {
        let mut stack = vec![0_u128; 1 << 14];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is large enough, aligned, and outlives the child, for which this thread waits.
        unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::null_mut()) }
    }
    extern "C" fn child(_: *mut libc::c_void) -> libc::c_int {
        // The check that precedes a reply: the child's process id is not the worker's.
        i32::from(id() == WORKER.load(std::sync::atomic::Ordering::Relaxed))
    }
    static WORKER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    WORKER.store(id(), std::sync::atomic::Ordering::Relaxed);
    let pid = vfork(child);
    let mut status = 0;
    // SAFETY: `status` is valid for the write.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    u64::from(waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
}

#[test]
fn a_task_may_start_processes_that_share_its_memory() {
    assert_eq!(forks_with_vfork(), 1);
    assert_eq!(square_fifth(4).0, 16);
}

#[parallel(kind = "process", pool = FIFTH)]
fn starts_a_program() -> bool {
    Command::new("true").status().is_ok_and(|status| status.success())
}

#[test]
fn a_task_may_start_programs() {
    assert!(starts_a_program());
}

static KILLED: Pool = Pool::process("killed_while_replying").threads(1);

#[parallel(kind = "process", pool = KILLED)]
fn send_pid_and_some(sender: Sender<u32>, length: usize) -> Option<Bytes> {
    sender.send(id()).expect("the receiver is alive");
    Some(vec![1; length].into())
}

#[parallel(kind = "process", pool = KILLED)]
fn send_pid_and_fail(sender: Sender<u32>) -> Result<Option<Bytes>, String> {
    sender.send(id()).expect("the receiver is alive");
    Err("always".into())
}

#[test]
fn a_worker_killed_while_it_replies_has_replied_or_not() {
    let mut died = 0;
    for round in 0..150_u32 {
        let (sender, receiver) = channel::<u32>();
        let killer = std::thread::spawn(move || {
            let worker = receiver.recv().expect("it runs");
            (0..round * 40).for_each(|_| std::hint::spin_loop());
            // SAFETY: `kill` takes numbers. The worker is not reaped before its reply is read or it has ended.
            unsafe { libc::kill(worker.cast_signed(), libc::SIGKILL) };
        });
        let outcome = if round % 3 == 0 {
            send_pid_and_fail::submit(sender).join().map(|answer| assert_eq!(answer.err(), Some("always".into())))
        } else {
            send_pid_and_some::submit(sender, 70_000).join().map(|answer| {
                assert!(answer.is_some_and(|bytes| bytes.len() == 70_000));
            })
        };
        killer.join().expect("it does not panic");
        match outcome {
            Ok(()) => {}
            Err(error @ TaskError::WorkerDied { .. }) => {
                assert!(error.to_string().contains("SIGKILL"), "{error}");
                died += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(died > 0, "none was killed in time");
}

/// Set in the program that forks; in this program's copy the threads of other tests would be missing.
const FORKS: &str = "FANFOLD_TEST_FORKS";

worker!(SIXTH, square_sixth);

#[parallel(kind = "process", pool = SIXTH)]
fn waits_for(file: PathBuf) -> bool {
    wait_until("the file is there", || file.exists());
    true
}

#[parallel(kind = "process", pool = SIXTH)]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

#[test]
fn a_copy_of_the_parent_does_not_use_its_workers() {
    if std::env::var_os(FORKS).is_some() {
        return fork_the_parent();
    }
    let mut program = Command::new(std::env::current_exe().expect("this program has a path"));
    program.args(["a_copy_of_the_parent_does_not_use_its_workers", "--exact", "--nocapture"]).env(FORKS, "yes");
    let output = program.output().expect("this program starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fork_the_parent() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("continue");
    let worker = square_sixth(1).1;
    assert_eq!(length(vec![1; 1 << 20].into()), 1 << 20);
    let task = waits_for::submit(file.clone());
    wait_until("it runs", || task.is_running());
    let copy = fork(Call::Library);
    if copy == 0 {
        // The copy cannot cancel the task or use the pool of its parent, and a pool that it builds works.
        task.cancel();
        let refused = catch_unwind(AssertUnwindSafe(|| square_sixth(2))).is_err();
        let own = Pool::process("own").threads(1).build().expect("there are processes");
        let squares: Vec<(u64, u32)> = square_sixth::map(0..10).on(&own).collect();
        let works = squares.into_iter().map(|(square, _)| square).eq((0..10).map(|n| n * n));
        drop(own);
        // SAFETY: ends the copy without running the parent's destructors.
        unsafe { libc::_exit(i32::from(!(refused && works))) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the write.
    assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
    std::fs::write(file, "").expect("it can be written");
    assert!(task.join().expect("its worker lives"));
    assert_eq!(square_sixth(3), (9, worker));
}
