//! Nested waits never deadlock, at any pool size.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{Pool, as_completed, first, join_all, parallel};

static IO: Pool = Pool::io("io1").threads(1);
static CPU: Pool = Pool::cpu("cpu1").threads(1);
static OTHER: Pool = Pool::io("other1").threads(1);

#[parallel(kind = "io", pool = IO)]
fn io_join(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + io_join::submit(depth - 1).join().expect("no panic") }
}

#[parallel(kind = "cpu", pool = CPU)]
fn cpu_then_io(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + io_then_cpu::submit(depth - 1).join().expect("no panic") }
}

#[parallel(kind = "io", pool = IO)]
fn io_then_cpu(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + cpu_then_io::submit(depth - 1).join().expect("no panic") }
}

#[parallel(kind = "cpu", pool = CPU)]
fn cpu_calls_io(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + io_calls_cpu(depth - 1) }
}

#[parallel(kind = "io", pool = IO)]
fn io_calls_cpu(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + cpu_calls_io(depth - 1) }
}

#[parallel(kind = "io", pool = IO)]
fn io_map(depth: u32) -> u32 {
    if depth == 0 { 1 } else { io_map::map([depth - 1, depth - 1]).collect::<Vec<_>>().iter().sum() }
}

#[parallel(kind = "cpu", pool = CPU)]
fn cpu_maps_io(depth: u32) -> u32 {
    if depth == 0 { 1 } else { io_maps_cpu::map([depth - 1, depth - 1]).collect::<Vec<_>>().iter().sum() }
}

#[parallel(kind = "io", pool = IO)]
fn io_maps_cpu(depth: u32) -> u32 {
    if depth == 0 { 1 } else { cpu_maps_io::map([depth - 1, depth - 1]).collect::<Vec<_>>().iter().sum() }
}

#[test]
fn joins_nest_ten_deep_on_one_thread() {
    assert_eq!(io_join(10), 10);
    assert_eq!(io_join::submit(10).join().expect("no panic"), 10);
}

#[test]
fn joins_nest_across_kinds() {
    assert_eq!(cpu_then_io(10), 10);
    assert_eq!(io_then_cpu(10), 10);
    let both: Vec<_> =
        (0..20).map(|n| if n % 2 == 0 { cpu_then_io::submit(5) } else { io_then_cpu::submit(5) }).collect();
    assert_eq!(join_all(both).expect("no panic"), [5; 20]);
}

#[test]
fn direct_calls_nest_across_kinds() {
    assert_eq!(cpu_calls_io(10), 10);
    let calls: Vec<_> = (0..20).map(|_| io_calls_cpu::submit(5)).collect();
    assert_eq!(join_all(calls).expect("no panic"), [5; 20]);
}

#[test]
fn maps_nest_within_and_across_kinds() {
    assert_eq!(io_map(6), 64);
    assert_eq!(cpu_maps_io(6), 64);
    assert_eq!(io_maps_cpu(6), 64);
}

#[test]
fn a_task_may_join_a_task_queued_behind_it() {
    let (give, given) = mpsc::channel::<fanfold::Task<u32>>();
    let waits = IO.submit(move || given.recv().expect("the test gives").join().expect("no panic") + 1);
    give.send(IO.submit(|| 1)).expect("it waits");
    assert_eq!(waits.join().expect("no panic"), 2);
}

#[test]
fn every_wait_works_on_the_only_worker_of_a_pool() {
    let completed = IO.submit(|| as_completed((0..5).map(|n| IO.submit(move || n))).map(|(_, r)| r.expect("ok")).sum());
    assert_eq!(completed.join().unwrap_or(0), 10);
    let timed = IO.submit(|| IO.submit(|| 3).join_timeout(Duration::from_secs(60)).expect("another thread runs it"));
    assert_eq!(timed.join().expect("no panic"), 3);
    let winner = IO.submit(|| first((0..3).map(|_| IO.submit(|| 4))).expect("one returns"));
    assert_eq!(winner.join().expect("no panic"), 4);
    let iterated = IO.submit(|| IO.map(0..100_u32, |n| n).into_iter().sum::<u32>());
    assert_eq!(iterated.join().expect("no panic"), 4_950);
    let unordered = IO.submit(|| IO.map(0..100_u32, |n| n).unordered().into_iter().sum::<u32>());
    assert_eq!(unordered.join().expect("no panic"), 4_950);
    let scoped = IO.submit(|| fanfold::scope(|s| s.submit_on(&IO, || 5).join().expect("no panic")));
    assert_eq!(scoped.join().expect("no panic"), 5);
}

#[test]
fn a_one_thread_pool_runs_one_task_at_a_time_for_any_joiner() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let task = |running: Arc<AtomicUsize>, most: Arc<AtomicUsize>| {
        move || {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..50 {
                thread::yield_now();
            }
            running.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let joiners = Pool::io("joiners").threads(4).build().expect("threads start");
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            joiners.submit(move || {
                let tasks = (0..25).map(|_| OTHER.submit(task(Arc::clone(&running), Arc::clone(&most))));
                join_all(tasks).expect("no panic");
            })
        })
        .collect();
    join_all(all).expect("no panic");
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn threads_outside_the_pool_never_run_its_tasks() {
    let here = thread::current().id();
    let ids: HashSet<_> =
        join_all((0..50).map(|_| IO.submit(|| thread::current().id()))).expect("ok").into_iter().collect();
    assert!(!ids.contains(&here));
}

#[test]
fn a_lock_held_across_a_map_does_not_hang() {
    static FOUR: Pool = Pool::io("four").threads(4);
    #[parallel(kind = "io", pool = FOUR)]
    fn item(n: u32) -> u32 {
        n
    }
    let lock = Mutex::new(0);
    FOUR.map(0..40, |_| {
        let mut held = lock.lock().expect("no panic");
        *held += item::map(0..10).collect::<Vec<_>>().len();
    })
    .for_each(drop);
    assert_eq!(lock.into_inner().expect("no panic"), 400);
}

#[test]
fn the_last_handle_of_a_pool_may_be_dropped_on_its_own_worker() {
    for pool in [Pool::io("self").threads(1), Pool::cpu("self").threads(1)] {
        let pool = Arc::new(pool.build().expect("threads start"));
        let (sender, receiver) = mpsc::channel();
        let own = Arc::clone(&pool);
        let (go, gone) = mpsc::channel::<()>();
        let task = pool.submit(move || {
            gone.recv().ok();
            drop(own);
            sender.send(()).ok();
        });
        drop(pool);
        go.send(()).expect("it waits");
        receiver.recv().expect("it does not wait for itself");
        task.join().expect("no panic");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours under Miri")]
fn nested_waits_do_not_run_queued_tasks_on_one_stack() {
    static ONE: Pool = Pool::io("one_stack").threads(1);
    // Each task's frame takes 2 KiB. A worker that ran others while it waits would need thousands of such frames.
    let tasks: Vec<_> = (0..5_000_usize)
        .map(|n| {
            ONE.submit(move || {
                let buffer = std::hint::black_box([n; 256]);
                let inner = ONE.submit(move || buffer[255] + 1).join().expect("no panic");
                inner + std::hint::black_box(buffer)[0]
            })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().expect("no panic"), 2 * n + 1);
    }
}

#[test]
fn a_worker_that_shuts_down_another_pool_frees_its_permit_for_that_pool() {
    static ENDS: Pool = Pool::io("ends1").threads(1);

    for pool in [Pool::io("ended1").threads(1), Pool::cpu("ended1").threads(1)] {
        let ended = ENDS.submit(move || {
            let pool = pool.build().expect("threads start");
            // The task needs the one worker of the pool on which the shutdown waits.
            let task = pool.submit(|| ENDS.submit(|| 3).join());
            drop(pool);
            task.join()
        });
        assert_eq!(ended.join().expect("no panic").expect("it ran").expect("no panic"), 3);
    }
}
