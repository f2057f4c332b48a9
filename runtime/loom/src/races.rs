//! The races of a task, in every order.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::cell::TaskCell;
use crate::sys::small_vec::SmallVec;

/// Counts how often it is told.
type Bell = Arc<AtomicUsize>;
type Cell = TaskCell<u32, Result<u32, &'static str>, Bell>;

fn cell() -> Arc<Cell> {
    // SAFETY: numbers.
    Arc::new(unsafe { Cell::new(7) })
}

/// What a worker does.
fn work(cell: &Cell) -> bool {
    let Some(work) = cell.claim() else { return false };
    if cell.seal() {
        // SAFETY: sealed just now.
        ring(unsafe { cell.publish(Ok(work), |_, bell| Some(bell)) });
    }
    true
}

/// What a canceller does.
fn cancel(cell: &Cell) -> bool {
    if cell.revoke().is_none() {
        return false;
    }
    // SAFETY: revoked just now.
    ring(unsafe { cell.publish(Err("cancelled"), |_, bell| Some(bell)) });
    true
}

fn ring(bells: SmallVec<Bell>) {
    bells.for_each(|bell| {
        bell.fetch_add(1, Ordering::SeqCst);
    });
}

#[test]
fn of_a_worker_a_joiner_and_a_canceller_one_gets_the_task() {
    loom::model(|| {
        let cell = cell();
        let (theirs, other) = (Arc::clone(&cell), Arc::clone(&cell));
        let worker = thread::spawn(move || work(&theirs));
        let canceller = thread::spawn(move || cancel(&other));
        let joined = work(&cell);
        let (worked, cancelled) = (worker.join().unwrap(), canceller.join().unwrap());
        assert_eq!(u32::from(joined) + u32::from(worked) + u32::from(cancelled), 1);
        // SAFETY: the others have ended.
        let outcome = unsafe { cell.take() }.expect("it is done");
        assert_eq!(outcome, if cancelled { Err("cancelled") } else { Ok(7) });
        // SAFETY: as above.
        assert!(unsafe { cell.take() }.is_none(), "it is taken once");
    });
}

#[test]
fn a_listener_is_told_or_sees_the_outcome_however_late_it_comes() {
    loom::model(|| {
        let cell = cell();
        let theirs = Arc::clone(&cell);
        let worker = thread::spawn(move || work(&theirs));
        let bell: Bell = Arc::new(AtomicUsize::new(0));
        let other: Bell = Arc::new(AtomicUsize::new(0));
        // The second bell replaces nothing: both are told, each once.
        let early = cell.listen(Arc::clone(&bell), |_, _| false).is_some();
        let late = cell.listen(Arc::clone(&other), |_, _| false).is_some();
        assert!(worker.join().unwrap());
        for (seen, bell) in [(early, bell), (late, other)] {
            assert_eq!(usize::from(seen) + bell.load(Ordering::SeqCst), 1);
        }
        // SAFETY: the worker has ended.
        assert_eq!(unsafe { cell.take() }, Some(Ok(7)));
    });
}

#[test]
fn a_listener_that_is_taken_back_is_told_once_at_most_and_the_others_are_told() {
    loom::model(|| {
        let cell = cell();
        let theirs = Arc::clone(&cell);
        let worker = thread::spawn(move || work(&theirs));
        let (bell, other): (Bell, Bell) = Default::default();
        let late = cell.listen(Arc::clone(&bell), |_, _| false).is_some();
        let other_late = cell.listen(Arc::clone(&other), |_, _| false).is_some();
        cell.forget(|known| Arc::ptr_eq(known, &bell));
        assert!(worker.join().unwrap());
        assert!(usize::from(late) + bell.load(Ordering::SeqCst) <= 1);
        assert_eq!(usize::from(other_late) + other.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_listener_takes_the_place_of_another_or_sees_the_outcome() {
    loom::model(|| {
        let cell = cell();
        let theirs = Arc::clone(&cell);
        let worker = thread::spawn(move || work(&theirs));
        let (before, after): (Bell, Bell) = Default::default();
        let _ = cell.listen(before, |_, _| true);
        let late = cell.listen(Arc::clone(&after), |_, _| true).is_some();
        assert!(worker.join().unwrap());
        assert_eq!(usize::from(late) + after.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_outcome_is_sealed_by_the_worker_or_by_the_timer() {
    loom::model(|| {
        let cell = cell();
        let theirs = Arc::clone(&cell);
        let work = cell.claim().expect("nobody else wants it");
        let timer = thread::spawn(move || {
            let late = theirs.seal();
            if late {
                theirs.ask_to_stop();
                // SAFETY: sealed just now.
                ring(unsafe { theirs.publish(Err("timed out"), |_, bell| Some(bell)) });
            }
            late
        });
        let in_time = cell.seal();
        if in_time {
            // SAFETY: sealed just now.
            ring(unsafe { cell.publish(Ok(work), |_, bell| Some(bell)) });
        }
        let late = timer.join().unwrap();
        assert!(in_time != late);
        // SAFETY: the timer has ended.
        assert_eq!(unsafe { cell.take() }, Some(if late { Err("timed out") } else { Ok(7) }));
    });
}

#[test]
fn a_joiner_that_sees_the_end_sees_the_outcome() {
    loom::model(|| {
        let cell = cell();
        let theirs = Arc::clone(&cell);
        let worker = thread::spawn(move || work(&theirs));
        if cell.is_done() {
            // SAFETY: only this thread takes or looks.
            assert_eq!(unsafe { cell.peek(Result::is_ok) }, Some(true));
            // SAFETY: as above.
            assert_eq!(unsafe { cell.take() }, Some(Ok(7)));
        }
        worker.join().unwrap();
    });
}

#[test]
fn work_that_is_put_back_goes_to_one_who_claims_or_cancels() {
    loom::model(|| {
        let cell = cell();
        let (theirs, other) = (Arc::clone(&cell), Arc::clone(&cell));
        let sender = thread::spawn(move || {
            let Some(work) = theirs.claim() else { return false };
            // SAFETY: claimed just now, and nobody seals what nobody runs.
            unsafe { theirs.put_back(work) };
            true
        });
        let canceller = thread::spawn(move || cancel(&other));
        let worked = work(&cell);
        let (_, cancelled) = (sender.join().unwrap(), canceller.join().unwrap());
        let late = work(&cell);
        assert_eq!(u32::from(worked) + u32::from(cancelled) + u32::from(late), 1);
    });
}
