//! A function's first map: its first item may be long, so other threads start items while it runs.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use fanfold::{Pool, parallel};

/// A place where items wait for one another.
struct Meeting {
    arrived: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    const fn new() -> Self {
        Self { arrived: Mutex::new(0), changed: Condvar::new() }
    }

    /// Waits until this many have arrived; `false` if they do not come.
    fn wait_for(&self, number: usize) -> bool {
        let mut arrived = self.arrived.lock().expect("no waiter panics");
        *arrived += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(arrived, Duration::from_secs(20), |arrived| *arrived < number);
        !waited.expect("no waiter panics").1.timed_out()
    }
}

static TWO: Pool = Pool::cpu("two").threads(2);

/// A pool of one test alone: items of another test would take its threads.
fn four_threads() -> Pool {
    Pool::cpu("four").threads(4).build().expect("threads can be had")
}

/// The same with two threads.
fn two_threads() -> Pool {
    Pool::cpu("two").threads(2).build().expect("threads can be had")
}

static OF_FUNCTION: Meeting = Meeting::new();

#[parallel(kind = "cpu", pool = TWO)]
fn meets(number: usize) -> bool {
    OF_FUNCTION.wait_for(number)
}

#[test]
fn two_items_of_an_annotated_function_run_side_by_side() {
    assert_eq!(meets::map([2, 2]).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn all_items_run_side_by_side_on_a_pool_with_as_many_threads() {
    let (pool, meeting) = (four_threads(), Meeting::new());
    let met: Vec<bool> = pool.map([4; 4], |number| meeting.wait_for(number)).collect();
    assert_eq!(met, [true; 4]);
}

#[test]
fn items_of_a_map_into_a_result_run_side_by_side() {
    let (pool, meeting) = (two_threads(), Meeting::new());
    let met: Result<Vec<()>, &str> =
        pool.map([2, 2], |number| meeting.wait_for(number).then_some(()).ok_or("alone")).collect();
    assert_eq!(met, Ok(vec![(), ()]));
}

#[test]
fn items_of_a_reduction_run_side_by_side() {
    let (pool, meeting) = (two_threads(), Meeting::new());
    assert!(pool.map([2, 2], |number| meeting.wait_for(number)).reduce(|| true, |left, right| left && right));
}

#[test]
fn items_of_for_each_run_side_by_side() {
    let (pool, meeting) = (two_threads(), Meeting::new());
    pool.map([2, 2], |number| meeting.wait_for(number)).for_each(|met| assert!(met));
}

#[test]
fn items_of_an_iterator_run_side_by_side() {
    let (pool, meeting) = (two_threads(), Meeting::new());
    let numbers = std::iter::repeat_n(2, 2);
    let met: Vec<bool> = pool.map(numbers, |number| meeting.wait_for(number)).collect();
    assert_eq!(met, [true, true]);
}

#[test]
fn items_that_a_task_maps_run_side_by_side() {
    static MEETING: Meeting = Meeting::new();
    static TASKS: Pool = Pool::cpu("tasks").threads(2);
    let met = TASKS.submit(|| TASKS.map([2, 2], |number| MEETING.wait_for(number)).collect::<Vec<_>>()).join();
    assert_eq!(met.expect("no panic"), [true, true]);
}

#[test]
fn a_map_inside_of_a_map_uses_the_threads_that_do_not_compute() {
    let (pool, meeting) = (four_threads(), Meeting::new());
    // The outer map occupies one thread of four; three more items than that thread can run meet inside.
    let met: Vec<Vec<bool>> = pool
        .map([4, 1], |number| match number {
            1 => vec![true],
            _ => pool.map([number; 4], |number| meeting.wait_for(number)).collect(),
        })
        .collect();
    assert_eq!(met, [vec![true; 4], vec![true]]);
}
