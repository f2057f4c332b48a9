//! A cheap clock: the processor's time-stamp counter if that has a constant rate, else the system's monotonic clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::try_once::get_or_init_unlocked;

/// A point in time, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    #[inline]
    pub(crate) fn now() -> Self {
        Self(ticks())
    }

    pub(crate) fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    pub(crate) fn ticks(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to this moment; 0 if it is not earlier, as the counters of two cores may differ.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let ticks = self.0.saturating_sub(earlier.0);
        u64::try_from((u128::from(ticks) * u128::from(clock().rate)) >> SHIFT).unwrap_or(u64::MAX)
    }
}

struct Clock {
    /// Set if the system's clock is used: ticks are nanoseconds since this instant.
    start: Option<Instant>,
    /// Nanoseconds per tick, times 2 to the power of [`SHIFT`].
    rate: u64,
}

const SHIFT: u32 = 20;

static CLOCK: OnceLock<Clock> = OnceLock::new();

#[inline]
fn clock() -> &'static Clock {
    get_or_init_unlocked(&CLOCK, measure)
}

#[cold]
fn measure() -> Clock {
    if has_counter() {
        // 20 us give the rate to some per cent, which is enough for every decision that depends on it.
        let (start, first) = read_both();
        while start.elapsed() < Duration::from_micros(20) {
            std::hint::spin_loop();
        }
        let (end, last) = read_both();
        let nanoseconds = u64::try_from((end - start).as_nanos()).unwrap_or(u64::MAX);
        if let Some(rate) = (nanoseconds << SHIFT).checked_div(last.saturating_sub(first)) {
            return Clock { start: None, rate: rate.max(1) };
        }
    }
    Clock { start: Some(Instant::now()), rate: 1 << SHIFT }
}

/// Reads both clocks at the same time. Of 8 readings it returns the shortest: a thread that loses its core between the
/// two clocks would make the rate wrong for good.
fn read_both() -> (Instant, u64) {
    let read = |_| {
        let before = counter();
        let now = Instant::now();
        let took = counter().saturating_sub(before);
        (took, now, before + took / 2)
    };
    let mut best = read(0);
    for reading in (1..8).map(read) {
        if reading.0 < best.0 {
            best = reading;
        }
    }
    (best.1, best.2)
}

#[inline]
fn ticks() -> u64 {
    match clock().start {
        None => counter(),
        Some(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
    }
}

/// Whether the processor has a counter of constant rate (invariant TSC).
#[cfg(all(target_arch = "x86_64", not(any(miri, fanfold_portable))))]
fn has_counter() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER: u32 = 0x8000_0007;
    // The leaf 0x8000_0000, which tells the highest extended leaf, exists on every x86-64 processor.
    #[allow(unused_unsafe, reason = "a safe function from Rust 1.94 on")]
    // SAFETY: every x86-64 processor has the instruction.
    let leaf = |leaf| unsafe { __cpuid(leaf) };
    leaf(0x8000_0000).eax >= POWER && leaf(POWER).edx & (1 << 8) != 0
}

#[cfg(any(not(target_arch = "x86_64"), miri, fanfold_portable))]
fn has_counter() -> bool {
    false
}

#[cfg(all(target_arch = "x86_64", not(any(miri, fanfold_portable))))]
#[inline]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has `rdtsc`, and no supported system disables it (`CR4.TSD`).
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(any(not(target_arch = "x86_64"), miri, fanfold_portable))]
fn counter() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_convert_to_nanoseconds() {
        // Initializes the clock.
        let _ = Moment::now();
        let (before, first, after) = (Instant::now(), Moment::now(), Instant::now());
        while after.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let (until, last, end) = (Instant::now(), Moment::now(), Instant::now());
        let by_ticks = Duration::from_nanos(last.since(first));
        // However long this thread was preempted: the ticks span more than the inner instants and less than the outer.
        let (least, most) = (until - after, end - before);
        assert!(by_ticks > least.mul_f64(0.9) && by_ticks < most.mul_f64(1.1), "{by_ticks:?} in {least:?}..{most:?}");
    }
}
