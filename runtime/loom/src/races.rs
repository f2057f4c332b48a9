//! Loom models of the task cell: the races between worker, joiner, canceller and timer, in every order.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::cell::TaskCell;
use crate::sys::small_vec::SmallVec;

/// A listener that counts how often it is notified.
type Counter = Arc<AtomicUsize>;
type Cell = TaskCell<u32, Result<u32, &'static str>, Counter>;

fn cell() -> Arc<Cell> {
    // SAFETY: work and outcome are integers and static strings, which are `Send` and `Sync`.
    Arc::new(unsafe { Cell::new(7) })
}

/// Claims the work, and publishes its result, as a worker does. Returns whether the claim succeeded.
fn run(cell: &Cell) -> bool {
    let Some(work) = cell.claim() else { return false };
    if cell.seal() {
        // SAFETY: `seal` succeeded on this thread, which has not published before.
        notify(unsafe { cell.publish(Ok(work), |_, listener| Some(listener)) });
    }
    true
}

/// Ends a queued task, as a cancel does. Returns whether it did.
fn cancel(cell: &Cell) -> bool {
    if cell.revoke().is_none() {
        return false;
    }
    // SAFETY: `revoke` succeeded on this thread, which has not published before.
    notify(unsafe { cell.publish(Err("cancelled"), |_, listener| Some(listener)) });
    true
}

fn notify(listeners: SmallVec<Counter>) {
    listeners.for_each(|listener| {
        listener.fetch_add(1, Ordering::SeqCst);
    });
}

#[test]
fn one_of_worker_joiner_and_canceller_gets_the_task() {
    loom::model(|| {
        let cell = cell();
        let (for_worker, for_canceller) = (Arc::clone(&cell), Arc::clone(&cell));
        let worker = thread::spawn(move || run(&for_worker));
        let canceller = thread::spawn(move || cancel(&for_canceller));
        let joined = run(&cell);
        let (worked, cancelled) = (worker.join().unwrap(), canceller.join().unwrap());
        assert_eq!(u32::from(joined) + u32::from(worked) + u32::from(cancelled), 1);
        // SAFETY: the other threads have ended.
        let outcome = unsafe { cell.take() }.expect("it is done");
        assert_eq!(outcome, if cancelled { Err("cancelled") } else { Ok(7) });
        // SAFETY: the other threads have ended.
        assert!(unsafe { cell.take() }.is_none(), "it is taken once");
    });
}

#[test]
fn a_listener_is_notified_or_sees_the_outcome() {
    loom::model(|| {
        let cell = cell();
        let for_worker = Arc::clone(&cell);
        let worker = thread::spawn(move || run(&for_worker));
        let (first, second): (Counter, Counter) = Default::default();
        // The second listener does not replace the first: each is notified once.
        let first_saw_done = cell.add_or_replace_listener(Arc::clone(&first), |_, _| false).is_some();
        let second_saw_done = cell.add_or_replace_listener(Arc::clone(&second), |_, _| false).is_some();
        assert!(worker.join().unwrap());
        for (saw_done, counter) in [(first_saw_done, first), (second_saw_done, second)] {
            assert_eq!(usize::from(saw_done) + counter.load(Ordering::SeqCst), 1);
        }
        // SAFETY: the worker has ended.
        assert_eq!(unsafe { cell.take() }, Some(Ok(7)));
    });
}

#[test]
fn a_removed_listener_is_notified_at_most_once_and_others_are_notified() {
    loom::model(|| {
        let cell = cell();
        let for_worker = Arc::clone(&cell);
        let worker = thread::spawn(move || run(&for_worker));
        let (removed, other): (Counter, Counter) = Default::default();
        let removed_saw_done = cell.add_or_replace_listener(Arc::clone(&removed), |_, _| false).is_some();
        let other_saw_done = cell.add_or_replace_listener(Arc::clone(&other), |_, _| false).is_some();
        cell.remove_listener(|known| Arc::ptr_eq(known, &removed));
        assert!(worker.join().unwrap());
        assert!(usize::from(removed_saw_done) + removed.load(Ordering::SeqCst) <= 1);
        assert_eq!(usize::from(other_saw_done) + other.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_replacing_listener_is_notified_or_sees_the_outcome() {
    loom::model(|| {
        let cell = cell();
        let for_worker = Arc::clone(&cell);
        let worker = thread::spawn(move || run(&for_worker));
        let (before, after): (Counter, Counter) = Default::default();
        let _ = cell.add_or_replace_listener(before, |_, _| true);
        let saw_done = cell.add_or_replace_listener(Arc::clone(&after), |_, _| true).is_some();
        assert!(worker.join().unwrap());
        assert_eq!(usize::from(saw_done) + after.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_outcome_is_sealed_by_the_worker_or_by_the_timer() {
    loom::model(|| {
        let cell = cell();
        let for_timer = Arc::clone(&cell);
        let work = cell.claim().expect("no other thread claims it");
        let timer = thread::spawn(move || {
            let timed_out = for_timer.seal();
            if timed_out {
                for_timer.request_stop();
                // SAFETY: `seal` succeeded on this thread, which has not published before.
                notify(unsafe { for_timer.publish(Err("timed out"), |_, listener| Some(listener)) });
            }
            timed_out
        });
        let in_time = cell.seal();
        if in_time {
            // SAFETY: `seal` succeeded on this thread, which has not published before.
            notify(unsafe { cell.publish(Ok(work), |_, listener| Some(listener)) });
        }
        let timed_out = timer.join().unwrap();
        assert!(in_time != timed_out);
        // SAFETY: the timer has ended.
        assert_eq!(unsafe { cell.take() }, Some(if timed_out { Err("timed out") } else { Ok(7) }));
    });
}

#[test]
fn a_joiner_that_sees_done_sees_the_outcome() {
    loom::model(|| {
        let cell = cell();
        let for_worker = Arc::clone(&cell);
        let worker = thread::spawn(move || run(&for_worker));
        if cell.is_done() {
            // SAFETY: the worker only runs the task, so no other thread takes or peeks.
            assert_eq!(unsafe { cell.peek(Result::is_ok) }, Some(true));
            // SAFETY: the worker only runs the task, so no other thread takes or peeks.
            assert_eq!(unsafe { cell.take() }, Some(Ok(7)));
        }
        worker.join().unwrap();
    });
}

#[test]
fn work_that_is_put_back_is_claimed_or_cancelled_once() {
    loom::model(|| {
        let cell = cell();
        let (for_sender, for_canceller) = (Arc::clone(&cell), Arc::clone(&cell));
        let sender = thread::spawn(move || {
            let Some(work) = for_sender.claim() else { return false };
            // SAFETY: this thread's `claim` returned the work, and no thread seals a cell that it has not claimed.
            unsafe { for_sender.put_back(work) };
            true
        });
        let canceller = thread::spawn(move || cancel(&for_canceller));
        let worked = run(&cell);
        let (_, cancelled) = (sender.join().unwrap(), canceller.join().unwrap());
        let worked_later = run(&cell);
        assert_eq!(u32::from(worked) + u32::from(cancelled) + u32::from(worked_later), 1);
    });
}
