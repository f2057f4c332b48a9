//! `fanfold::shutdown` over pools of every kind. One test, because it closes the pools of the whole program.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fanfold::shared::Flag;
use fanfold::{Pending, Pool, Task, TaskError, cancelled, parallel};

fanfold::process_tests!();

static IO: Pool = Pool::io("closed-io").threads(1);
static CPU: Pool = Pool::cpu("closed-cpu").threads(1);
static PROCESSES: Pool = Pool::process("closed").threads(1);
static LATER: Pool = Pool::io("later").threads(1);
static LATER_PROCESSES: Pool = Pool::process("later-processes").threads(1);

#[parallel(kind = "process", pool = PROCESSES)]
fn echo(n: u32, started: Flag, go_on: Flag) -> u32 {
    started.set();
    go_on.wait();
    n
}

#[parallel(kind = "process", pool = LATER_PROCESSES)]
fn hang(started: Flag) {
    started.set();
    loop {
        thread::park();
    }
}

#[test]
fn all_pools_end_as_one_does() {
    // One call runs in each pool, and others are queued behind it.
    let ran = Arc::new(AtomicU32::new(0));
    let barrier = Arc::new(Barrier::new(3));
    let mut tasks: Vec<Task<()>> = Vec::new();
    for pool in [&IO, &CPU] {
        let barrier = Arc::clone(&barrier);
        tasks.push(pool.submit(move || {
            barrier.wait();
        }));
        for _ in 0..10 {
            let ran = Arc::clone(&ran);
            tasks.push(pool.submit(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            }));
        }
    }
    let (started, go_on) = (Flag::new(), Flag::new());
    let echoes: Vec<_> = (0..5).map(|n| echo::submit(n, started.clone(), go_on.clone())).collect();
    started.wait();
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| fanfold::shutdown(Pending::Run));
        barrier.wait();
        go_on.set();
        shutdown.join().expect("no panic");
    });
    assert!(tasks.iter().all(Task::is_finished) && echoes.iter().all(Task::is_finished));
    assert_eq!(ran.load(Ordering::Relaxed), 20);
    assert_eq!(fanfold::join_all(echoes).expect("all have run"), [0, 1, 2, 3, 4]);
    for pool in [&IO, &CPU] {
        assert!(matches!(pool.submit(|| ()).join(), Err(TaskError::PoolClosed)));
    }
    assert!(matches!(echo::submit(0, started, go_on).join(), Err(TaskError::PoolClosed)));

    // Pools that are first used after that start as usual.
    let ((starts, running), started) = (channel(), Flag::new());
    let runs = LATER.submit(move || {
        starts.send(()).expect("the test waits");
        while !cancelled() {
            thread::yield_now();
        }
        7
    });
    let queued = LATER.submit(|| unreachable!("it is cancelled in the queue"));
    let hangs = hang::submit(started.clone());
    running.recv().expect("it starts");
    started.wait();
    fanfold::shutdown(Pending::Cancel);
    assert_eq!(runs.join().expect("it was asked to stop"), 7);
    assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
    assert!(matches!(hangs.join(), Err(TaskError::Cancelled)));
    assert!(fanfold::shutdown(Duration::ZERO), "nothing is left to end");
}
