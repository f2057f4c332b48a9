//! How async code waits for shared memory: it looks again and again, without a thread.
//!
//! No system can wake a task of another process by a word in memory. A thread that sleeps on the word would be needed
//! for each wait, and would outlive a wait that is dropped. One thread for all waits would need `futex_waitv`, which
//! takes 128 words, needs Linux 5.16 and has no counterpart on other systems; and a `Mutex` waits for a lock of the
//! system, which is no such word.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::task::alarm::Alarm;

/// The first pause between two looks. Each is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
/// The longest pause, so the longest time by which a wait ends too late.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` returns a value. The timer thread wakes the task for each look, so any executor can poll it.
pub(super) async fn poll_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn sleep(pause: Duration) {
    let end = Instant::now() + pause;
    let alarm = Alarm::at(end);
    poll_fn(|context| {
        // Set before the look at the clock: the alarm goes off after the end, so it wakes this or the end is seen.
        alarm.set(context.waker().clone());
        if Instant::now() >= end { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
