//! What threads and worker processes share: counters, flags, locked values and bytes.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use fanfold::shared::{Bytes, Counter, Flag, LockError, Mutex};
use fanfold::{ChannelError, Pool, Receiver, Sender, TaskError, channel, channel_bounded, parallel};

fanfold::process_tests!();

/// Long enough for anything that should happen.
const LONG: Duration = Duration::from_secs(60);

static TWO: Pool = Pool::process("shared").threads(2);

#[parallel(kind = "process", pool = TWO)]
fn count(counter: Counter, times: i64) -> i64 {
    (0..times).fold(0, |_, _| counter.add(1))
}

#[test]
fn processes_and_threads_count_together() {
    let counter = Counter::new(-5);
    let tasks = [count::submit(counter.clone(), 10_000), count::submit(counter.clone(), 10_000)];
    (0..1_000).for_each(|_| {
        counter.add(2);
    });
    tasks.into_iter().for_each(|task| assert!(task.join().expect("it counts") <= 22_000));
    assert_eq!(counter.get(), 21_995);
    let items: Vec<(Counter, i64)> = (0..100).map(|_| (counter.clone(), 1)).collect();
    assert_eq!(count::map(items).collect::<Vec<_>>().len(), 100);
    assert_eq!(counter.get(), 22_095);
    assert_eq!(counter.compare_exchange(1, 2), Err(22_095));
    assert_eq!(counter.compare_exchange(22_095, i64::MAX), Ok(22_095));
    assert_eq!(counter.add(1), i64::MIN);
}

#[parallel(kind = "process", pool = TWO)]
fn answer(asked: Flag, answered: Flag) -> bool {
    let in_time = asked.wait_timeout(LONG);
    answered.set();
    in_time
}

#[test]
fn a_flag_wakes_those_who_wait_in_other_processes() {
    let (asked, answered) = (Flag::new(), Flag::new());
    assert!(!answered.wait_timeout(Duration::ZERO));
    let task = answer::submit(asked.clone(), answered.clone());
    assert!(!answered.wait_timeout(Duration::from_millis(20)), "nobody asked");
    asked.set();
    answered.wait();
    assert!(task.join().expect("it waits"));
    answered.clear();
    assert!(!answered.is_set() && asked.is_set());
}

#[parallel(kind = "process", pool = TWO)]
fn push(list: Mutex<Vec<u32>>, from: u32, to: u32) -> Result<(), LockError> {
    for n in from..to {
        list.lock()?.push(n);
    }
    Ok(())
}

#[test]
fn a_locked_value_is_changed_by_one_at_a_time() {
    let list = Mutex::new(Vec::new());
    let tasks = [push::submit(list.clone(), 0, 500), push::submit(list.clone(), 500, 1_000)];
    std::thread::scope(|scope| {
        for thread in 2..4 {
            let list = &list;
            scope.spawn(move || {
                (0..500).for_each(|n| list.lock().expect("it is released").push(500 * thread + n));
            });
        }
    });
    for task in tasks {
        assert_eq!(task.join().expect("it ends"), Ok(()));
    }
    let mut all = list.lock().expect("it is released").clone();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2_000));
}

#[parallel(kind = "process", pool = TWO, timeout = "300ms")]
fn hold(list: Mutex<Vec<u32>>, held: Flag, aborts: bool) -> Result<(), TaskError> {
    let mut guard = list.lock().expect("nobody holds it");
    guard.push(7);
    held.set();
    if aborts {
        std::process::abort()
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn a_holder_that_ends_poisons_the_lock_and_leaves_the_value_before() {
    for aborts in [true, false] {
        let (list, held) = (Mutex::new(vec![1, 2]), Flag::new());
        let task = hold::submit(list.clone(), held.clone(), aborts);
        assert!(held.wait_timeout(LONG));
        // Released by the death of its holder: by the abort, or by the time limit of the call.
        assert_eq!(list.lock_timeout(LONG).map(drop), Err(LockError::Poisoned));
        assert!(task.join().and_then(|result| result).is_err());
        assert_eq!(list.lock().map(drop), Err(LockError::Poisoned), "it stays so");
        list.clear_poison().expect("nobody holds it");
        assert_eq!(*list.lock().expect("it was cleared"), [1, 2]);
    }
}

#[test]
fn an_async_wait_leaves_its_thread_to_others() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let (asked, answered) = (Flag::new(), Flag::new());
    let task = answer::submit(asked.clone(), answered.clone());
    // The only thread asks while it waits for the answer.
    let waits = async { answered.wait_async().await };
    let asks = async { asked.set() };
    runtime.block_on(async { tokio::join!(waits, asks) });
    assert!(task.join().expect("it waits") && answered.is_set());

    let list = Mutex::new(Vec::new());
    let pushes = push::submit(list.clone(), 0, 200);
    runtime.block_on(async {
        let push = async |from: u32| {
            for n in from..from + 50 {
                let mut guard = list.lock_async().await.expect("it is released");
                // The guard is kept while other tasks run.
                tokio::task::yield_now().await;
                guard.push(n);
            }
        };
        tokio::join!(push(200), push(250))
    });
    assert_eq!(pushes.join().expect("it ends"), Ok(()));
    let mut all = list.lock().expect("it is released").clone();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..300));
}

#[test]
fn an_async_wait_that_is_dropped_leaves_the_lock_to_others() {
    let (list, flag) = (Mutex::new(vec![1]), Flag::new());
    let held = list.lock().expect("nobody holds it");
    let mut context = Context::from_waker(Waker::noop());
    {
        let (mut locks, mut waits) = (pin!(list.lock_async()), pin!(flag.wait_async()));
        for _ in 0..3 {
            assert!(locks.as_mut().poll(&mut context).is_pending() && waits.as_mut().poll(&mut context).is_pending());
        }
    }
    drop(held);
    assert_eq!(list.try_lock().expect("it is released").as_deref(), Some(&vec![1]));
    flag.set();
    pollster::block_on(flag.wait_async());
    // A guard may go to another thread.
    let guard = pollster::block_on(list.lock_async()).expect("it is released");
    std::thread::scope(|scope| scope.spawn(move || drop(guard)).join()).expect("no panic");
    assert!(list.try_lock().expect("it is released").is_some());

    let held = Flag::new();
    let task = hold::submit(list.clone(), held.clone(), true);
    pollster::block_on(held.wait_async());
    assert_eq!(pollster::block_on(list.lock_async()).map(drop), Err(LockError::Poisoned));
    assert!(task.join().and_then(|result| result).is_err());
}

#[test]
fn a_panic_of_a_holder_poisons_the_lock() {
    let text = Mutex::new("before".to_owned());
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = text.lock().expect("nobody holds it");
        guard.push_str("after");
        panic!("while it is held");
    }));
    assert!(panics.is_err());
    assert_eq!(text.lock().map(drop), Err(LockError::Poisoned));
    text.clear_poison().expect("nobody holds it");
    assert_eq!(*text.lock().expect("it was cleared"), "before");
}

#[test]
fn waiting_for_a_lock_ends_with_its_limit() {
    let number = Mutex::new(1_u8);
    let guard = number.lock().expect("nobody holds it");
    let started = Instant::now();
    assert_eq!(number.clone().lock_timeout(Duration::from_millis(50)).map(drop), Err(LockError::TimedOut));
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(number.lock_timeout(Duration::ZERO).map(drop), Err(LockError::TimedOut));
    drop(guard);
    assert_eq!(*number.lock().expect("it was released"), 1);
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_the_one_before_stays() {
    let text = Mutex::with_capacity(String::new(), 100);
    text.lock().expect("nobody holds it").push_str("short");
    let panic = catch_unwind(AssertUnwindSafe(|| text.lock().expect("nobody holds it").push_str(&"x".repeat(200))));
    let panic = panic.expect_err("it takes more");
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("Mutex::with_capacity")), "{panic:?}");
    assert_eq!(text.lock().map(drop), Err(LockError::Poisoned));
    text.clear_poison().expect("nobody holds it");
    assert_eq!(*text.lock().expect("it was cleared"), "short");
    assert!(catch_unwind(|| Mutex::with_capacity("x".repeat(101), 50)).is_err());
}

#[parallel(kind = "process", pool = TWO)]
fn fill(bytes: Bytes, offset: usize, len: usize, value: u8) -> usize {
    bytes.write(offset, &vec![value; len]);
    bytes.len()
}

#[test]
fn processes_write_to_parts_of_shared_bytes() {
    let bytes = Bytes::new(100_003).expect("there is memory");
    let mut expected = vec![0; 100_003];
    // Parts of all alignments and lengths around a word, and a long one.
    for (offset, len, value) in [(1, 2, 1), (5, 9, 2), (16, 8, 3), (31, 17, 4), (60, 0, 5), (77, 99_926, 6)] {
        assert_eq!(fill(bytes.clone(), offset, len, value), 100_003);
        expected[offset..offset + len].fill(value);
        assert!(bytes.to_vec() == expected, "{offset}, {len}");
        let mut part = vec![9; len + 3];
        bytes.read(offset - 1, &mut part[..=len]);
        assert_eq!((&part[..=len], part[len + 1]), (&expected[offset - 1..offset + len], 9));
    }
    assert!(catch_unwind(|| bytes.write(100_000, &[1; 4])).is_err());
    assert!(catch_unwind(|| bytes.read(usize::MAX, &mut [0; 4])).is_err());
    assert!(Bytes::new(0).expect("only a header").is_empty());
    assert!(Bytes::new(usize::MAX).is_err());
}

#[parallel(kind = "process", pool = TWO)]
fn make(several: Vec<Counter>, none: Option<Flag>) -> Result<(Option<i64>, bool), TaskError> {
    Ok((several.iter().map(Counter::get).max(), none.is_none()))
}

#[parallel(kind = "process", pool = TWO)]
fn new_counter(value: i64) -> Counter {
    Counter::new(value)
}

#[parallel(kind = "process", pool = TWO)]
fn new_bytes() -> Result<Bytes, TaskError> {
    Ok(Bytes::new(1 << 20).expect("there is memory"))
}

#[test]
fn handles_cross_in_containers_and_as_results() {
    let several = vec![Counter::new(1), Counter::new(9), Counter::new(3)];
    assert_eq!(make(several, None).expect("it runs"), (Some(9), true));
    let made = new_counter(5);
    assert_eq!(count(made.clone(), 2), 7);
    assert_eq!(made.get(), 7);
    assert_eq!(new_bytes().expect("it runs").to_vec(), vec![0; 1 << 20]);
}

#[parallel(kind = "process", pool = TWO)]
fn answer_all(counters: Receiver<Counter>, answers: Receiver<Sender<i64>>) -> usize {
    counters.iter().zip(answers.iter()).filter(|(counter, answer)| answer.send(counter.add(1)).is_ok()).count()
}

#[test]
fn handles_and_ends_of_channels_go_through_channels() {
    let ((counters, theirs), (answers, answered)) = (channel(), channel());
    let served = answer_all::submit(theirs, answered);
    let counter = Counter::new(0);
    for n in 1..=50 {
        let (answer, receiver) = channel_bounded(1);
        counters.send(counter.clone()).expect("it is open");
        answers.send(answer).expect("it is open");
        assert_eq!(receiver.recv_timeout(LONG), Ok(n));
        assert_eq!(receiver.recv_timeout(LONG), Err(ChannelError::Closed));
    }
    drop((counters, answers));
    assert_eq!(served.join().expect("no panic"), 50);
    let (locks, received) = channel();
    locks.send(Mutex::new("a".repeat(10_000))).expect("it is open");
    assert_eq!(received.recv().expect("it was sent").lock().expect("nobody holds it").len(), 10_000);
    let (bytes, received) = channel();
    pollster::block_on(bytes.send_async(Bytes::new(3).expect("there is memory"))).expect("it is open");
    assert_eq!(received.recv().expect("it was sent").len(), 3);
}

#[cfg(unix)]
#[parallel(kind = "process", pool = TWO)]
fn copies_use(
    counter: Counter,
    flag: Flag,
    list: Mutex<Vec<u32>>,
    bytes: Bytes,
    sender: Sender<u32>,
) -> Vec<(i32, String)> {
    let uses: [&dyn Fn(); 6] = [
        &|| assert_eq!(counter.add(1), 1),
        &|| flag.set(),
        &|| drop(list.lock()),
        &|| bytes.write(0, &[1]),
        &|| drop(sender.send(1)),
        &|| {}, // it uses none
    ];
    uses.into_iter().map(in_copy).collect()
}

/// The exit code of a forked copy that runs `work`, and what it wrote on stderr.
#[cfg(unix)]
fn in_copy(work: &dyn Fn()) -> (i32, String) {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let (mut said, says) = std::io::pipe().expect("there are pipes");
    // SAFETY: the copy allocates, calls the library and exits by `_exit`; `status` is writable.
    unsafe {
        let copy = libc::fork();
        if copy == 0 {
            libc::dup2(says.as_raw_fd(), libc::STDERR_FILENO);
            work();
            libc::_exit(7);
        }
        drop(says);
        let mut status = 0;
        assert_eq!(libc::waitpid(copy, &raw mut status, 0), copy);
        let mut text = String::new();
        said.read_to_string(&mut text).expect("it is text");
        (libc::WEXITSTATUS(status), text)
    }
}

#[cfg(unix)]
#[test]
fn a_forked_copy_of_a_worker_says_why_it_ends() {
    let (counter, flag, list, bytes) = (Counter::new(0), Flag::new(), Mutex::new(vec![1]), Bytes::new(1).unwrap());
    let (sender, receiver) = channel();
    let mut copies = copies_use(counter.clone(), flag.clone(), list, bytes, sender);
    assert_eq!(copies.pop(), Some((7, String::new())));
    assert_eq!(copies.len(), 5);
    for (code, said) in copies {
        assert_eq!(code, 1);
        assert!(said.starts_with("fanfold: a function of `kind = \"process\"` forked its worker"), "{said}");
    }
    assert_eq!((counter.get(), flag.is_set(), receiver.recv()), (0, false, Err(ChannelError::Closed)));
}

#[test]
fn a_lock_says_whether_it_is_held_or_poisoned() {
    let lock = Mutex::new(1);
    let held = lock.try_lock().expect("it is free").expect("it is free");
    assert!(lock.try_lock().expect("no error").is_none() && !lock.is_poisoned());
    assert!(lock.clone().try_lock().expect("no error").is_none());
    drop(held);
    *lock.try_lock().expect("no error").expect("it is free") += 1;
    assert!(!lock.is_poisoned());
    let other = lock.clone();
    std::thread::spawn(move || {
        let _held = other.lock().expect("it is free");
        panic!("with the lock");
    })
    .join()
    .expect_err("it panics");
    assert!(lock.is_poisoned() && lock.is_poisoned());
    assert_eq!(lock.try_lock().map(|_| ()), Err(LockError::Poisoned));
    lock.clear_poison().expect("no error");
    assert!(!lock.is_poisoned());
    assert_eq!(*lock.lock().expect("it is usable"), 2);
}
