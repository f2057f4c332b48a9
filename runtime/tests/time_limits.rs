//! A wait with a time limit keeps it on a worker too, although another job has its permit by then.

use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, Task, TaskError, Until, as_completed, wait};

/// Long enough to be started, and short enough for a test.
const LIMIT: Duration = Duration::from_millis(20);

/// Runs `waits`, which waits with a time limit for the task that it is given, in a task of a pool of one thread. This
/// task never ends meanwhile, and nor does the next job of the pool, which has the permit from the wait on.
fn keeps_its_limit(pool: &Pool, waits: impl FnOnce(Task<()>) + Send + 'static) {
    let other = Pool::io("other").threads(1).build().expect("threads can be had");
    let (release, released) = mpsc::channel::<()>();
    let (release_next, next_released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    let (ended, ends) = mpsc::channel();
    let endless = other.submit(move || {
        let _ = released.recv();
    });
    let waiting = pool.submit(move || {
        waits(endless);
        ended.send(()).expect("the test waits");
    });
    let next = pool.submit(move || {
        started.send(()).expect("the test waits");
        // A wait that Fanfold does not see: the job keeps the permit.
        let _ = next_released.recv();
    });
    starts.recv_timeout(Duration::from_secs(20)).expect("the next job starts while the first one waits");
    ends.recv_timeout(Duration::from_secs(20)).expect("the wait ends although the next job has the permit");
    drop((release, release_next));
    waiting.join().expect("no panic");
    next.join().expect("no panic");
}

/// The same on each kind of pool.
fn keep_their_limit(waits: impl Fn(Task<()>) + Clone + Send + 'static) {
    let pools = [Pool::io("io").threads(1), Pool::cpu("cpu").threads(1)];
    for pool in pools {
        keeps_its_limit(&pool.build().expect("threads can be had"), waits.clone());
    }
}

#[test]
fn join_timeout_keeps_its_limit() {
    keep_their_limit(|task| assert!(task.join_timeout(LIMIT).is_err()));
}

#[test]
fn a_tasks_wait_keeps_its_limit() {
    keep_their_limit(|task| assert!(!task.wait(LIMIT)));
}

#[test]
fn wait_keeps_its_limit() {
    keep_their_limit(|task| assert_eq!(wait(&[task], Until::All, Some(LIMIT)), (vec![], vec![0])));
}

#[test]
fn as_completed_keeps_its_limit() {
    keep_their_limit(|task| {
        let first = as_completed([task]).timeout(LIMIT).next();
        assert!(matches!(first, Some((0, Err(TaskError::TimedOut { .. })))));
    });
}
