//! A clock that is cheap to read: the processor's time-stamp counter where it counts at one rate, else the system's.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::try_once::get_or_make;

/// A moment, in ticks of this machine.
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

    /// So much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        let ticks = (time.as_nanos() << SHIFT) / u128::from(clock().rate);
        Self(self.0.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)))
    }

    /// Nanoseconds from `earlier` to this moment; 0 if another core's counter says otherwise.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let ticks = self.0.saturating_sub(earlier.0);
        u64::try_from((u128::from(ticks) * u128::from(clock().rate)) >> SHIFT).unwrap_or(u64::MAX)
    }
}

struct Clock {
    /// When the system's clock is read: ticks are nanoseconds since then.
    start: Option<Instant>,
    /// Nanoseconds a tick, times 2 to the power of [`SHIFT`].
    rate: u64,
}

const SHIFT: u32 = 20;

static CLOCK: OnceLock<Clock> = OnceLock::new();

#[inline]
fn clock() -> &'static Clock {
    get_or_make(&CLOCK, measure)
}

#[cold]
fn measure() -> Clock {
    if has_counter() {
        // Long enough for a rate that is right to some per cent: what it decides is no finer.
        let (start, first) = both();
        while start.elapsed() < Duration::from_micros(20) {
            std::hint::spin_loop();
        }
        let (end, last) = both();
        let nanoseconds = u64::try_from((end - start).as_nanos()).unwrap_or(u64::MAX);
        if let Some(rate) = (nanoseconds << SHIFT).checked_div(last.saturating_sub(first)) {
            return Clock { start: None, rate: rate.max(1) };
        }
    }
    Clock { start: Some(Instant::now()), rate: 1 << SHIFT }
}

/// Both clocks at one moment: of several readings the one that took the least, as this thread may lose its core between
/// the two, and the rate would be wrong for good.
fn both() -> (Instant, u64) {
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

/// Whether the counter is there, and runs at one rate whatever the processor does.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_counter() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER: u32 = 0x8000_0007;
    // Whoever knows of extended leaves has the first of them.
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & (1 << 8) != 0
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn has_counter() -> bool {
    false
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and systems leave it to programs.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn counter() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_tell_nanoseconds() {
        // Sets the clock.
        let _ = Moment::now();
        let (before, first, after) = (Instant::now(), Moment::now(), Instant::now());
        while after.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let (until, last, end) = (Instant::now(), Moment::now(), Instant::now());
        let by_ticks = Duration::from_nanos(last.since(first));
        // Whatever came in between: the ticks lie between what lies inside of them and what lies around them.
        let (least, most) = (until - after, end - before);
        assert!(by_ticks > least.mul_f64(0.9) && by_ticks < most.mul_f64(1.1), "{by_ticks:?} in {least:?}..{most:?}");
    }
}
