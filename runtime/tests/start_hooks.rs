//! Pools with start hooks run their tasks only on their own threads, all of which have run the hook.

use std::cell::Cell;

use fanfold::{Pool, as_completed, first, join_all, parallel};

thread_local! {
    /// The pool whose start hook has run on this thread.
    static READY: Cell<&'static str> = const { Cell::new("") };
    static HAS_STOP_HOOK: Cell<bool> = const { Cell::new(false) };
}

static IO: Pool = Pool::io("hooked_io").threads(4).on_start(|| READY.set("io"));
static ONE: Pool = Pool::io("hooked_one").threads(1).on_start(|| READY.set("one"));
static CPU: Pool = Pool::cpu("hooked_cpu").threads(2).on_start(|| READY.set("cpu"));
static ENDING: Pool = Pool::io("hooked_end").threads(2).on_stop(|| HAS_STOP_HOOK.set(true));

#[parallel(kind = "io", pool = IO)]
fn on_io() -> &'static str {
    READY.get()
}

#[parallel(kind = "cpu", pool = CPU)]
fn on_cpu() -> &'static str {
    READY.get()
}

fn name() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

/// Runs code on each pool in every way, from the calling thread.
fn run_in_every_way() {
    for _ in 0..20 {
        for (pool, ready) in [(&IO, "io"), (&ONE, "one"), (&CPU, "cpu")] {
            let submit = || pool.submit(|| READY.get());
            assert_eq!(submit().join().expect("no panic"), ready);
            assert_eq!(join_all([submit(), submit(), submit()]).expect("no panic"), [ready; 3]);
            assert!(as_completed([submit(), submit()]).all(|(_, seen)| seen.expect("no panic") == ready));
            assert_eq!(first([submit(), submit()]).expect("no panic"), ready);
            assert!(pool.map(0..9, |_| READY.get()).into_iter().all(|seen| seen == ready));
            assert!(pool.map(0..9, |_| READY.get()).unordered().into_iter().all(|seen| seen == ready));
            assert_eq!(pool.map(0..9, |_| READY.get()).collect::<Vec<_>>(), [ready; 9]);
            fanfold::scope(|s| {
                for _ in 0..3 {
                    s.submit_on(pool, || assert_eq!(READY.get(), ready));
                }
                assert_eq!(s.submit_on(pool, || READY.get()).join().expect("no panic"), ready);
            });
        }
        assert_eq!((on_io(), on_io::submit().join().expect("no panic")), ("io", "io"));
        assert_eq!((on_cpu(), on_cpu::submit().join().expect("no panic")), ("cpu", "cpu"));
        assert!(ENDING.submit(name).join().expect("no panic").starts_with("fanfold-hooked_end-"));
    }
}

#[test]
fn tasks_run_only_where_the_start_hook_has_run() {
    run_in_every_way();
    Pool::cpu_default().submit(run_in_every_way).join().expect("no panic");
    Pool::io_default().submit(run_in_every_way).join().expect("no panic");
    let plain = Pool::io("plain").threads(1).build().expect("threads start");
    join_all((0..4).map(|_| plain.submit(run_in_every_way))).expect("no panic");
}

#[test]
fn tasks_of_a_pools_own_worker_run_where_the_start_hook_has_run() {
    for pool in [&IO, &ONE, &CPU] {
        join_all((0..2).map(|_| pool.submit(run_in_every_way))).expect("no panic");
    }
}

#[test]
fn pools_with_hooks_may_wait_for_each_other() {
    static LEFT: Pool = Pool::io("left").threads(1).on_start(|| READY.set("left"));
    static RIGHT: Pool = Pool::cpu("right").threads(1).on_start(|| READY.set("right"));
    fn swap(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let (pool, ready) = if depth.is_multiple_of(2) { (&LEFT, "left") } else { (&RIGHT, "right") };
        let task = pool.submit(move || {
            assert_eq!(READY.get(), ready);
            swap(depth - 1)
        });
        1 + task.join().expect("no panic")
    }
    let all: Vec<_> = (0..8).map(|_| LEFT.submit(|| swap(10))).collect();
    assert_eq!(join_all(all).expect("no panic"), [10; 8]);
}

#[test]
fn worker_state_is_made_by_the_pools_own_threads() {
    fn made() -> String {
        name()
    }
    static STATES: Pool = Pool::io("states").threads(2);
    #[parallel(kind = "io", pool = STATES, init = made)]
    fn maker(#[worker] state: &mut String) -> String {
        state.push('!');
        state.clone()
    }
    // A worker of another pool that ran the task in place would make a state of its own.
    let foreign = Pool::io("foreign").threads(2).build().expect("threads start");
    let made = (0..20).map(|_| foreign.submit(|| STATES.submit(maker).join().expect("no panic")));
    let made = join_all(made).expect("no panic");
    assert!(made.iter().all(|name| name.starts_with("fanfold-states-")), "{made:?}");
}
