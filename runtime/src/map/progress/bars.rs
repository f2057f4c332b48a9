//! Progress bars, drawn by indicatif (feature `progress`): all bars of the program are below each other, and lines of
//! text above them.
//!
//! A bar is drawn only on a terminal. Without the feature, [`DrawnBar::new`] returns `None`.

#[cfg(feature = "progress")]
pub use with_indicatif::{bars, println, set_style};

#[cfg(feature = "progress")]
pub(super) use with_indicatif::DrawnBar;

#[cfg(feature = "progress")]
mod with_indicatif {
    use std::fmt::Display;
    use std::io::{self, Write as _};
    use std::sync::{Arc, Mutex, OnceLock};
    use std::thread::{self, ThreadId};

    use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

    use crate::sys::mutex;
    use crate::task::cancel::is_share;

    /// The bars of this program: each bar of Fanfold is one of them while it is drawn, and bars of your own, added here,
    /// are drawn with them.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::progress::{bars, indicatif::ProgressBar};
    ///
    /// let download = bars().add(ProgressBar::new(100)); // below the bars of running maps
    /// download.inc(100);
    /// download.finish();
    /// ```
    #[doc(alias = "MultiProgress")]
    pub fn bars() -> &'static MultiProgress {
        static BARS: OnceLock<MultiProgress> = OnceLock::new();
        BARS.get_or_init(MultiProgress::new)
    }

    /// Prints a line to stdout, above the bars: `println!` would print it into them.
    ///
    /// Without a terminal, and while no bar is drawn, it is `println!`.
    ///
    /// # Panics
    ///
    /// If stdout cannot be written to, as `println!`.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, progress};
    ///
    /// let squares = Pool::cpu_default().map(0..100_u64, |n| {
    ///     if n == 50 {
    ///         progress::println(format_args!("half way, at {n}"));
    ///     }
    ///     n * n
    /// });
    /// assert_eq!(squares.progress("squares").sum::<u64>(), 328_350);
    /// ```
    pub fn println(line: impl Display) {
        // The user's `Display` runs before the bars are locked.
        let line = format!("{line}\n");
        let print = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
        };
        // Hidden bars need not make way.
        let printed = if bars().is_hidden() { print() } else { bars().suspend(print) };
        if let Err(error) = printed {
            panic!("failed printing to stdout: {error}");
        }
    }

    /// The message of the bar of a map that failed, or that was left early.
    const STOPPED: &str = "stopped";

    /// Makes the style of a bar from its label and the number of items, if it is known.
    type StyleFn = Arc<dyn Fn(&str, Option<u64>) -> Option<ProgressStyle> + Send + Sync>;

    static STYLE: Mutex<Option<StyleFn>> = Mutex::new(None);

    /// Sets the function that makes the style of each bar that begins from now on, of its label and the number of items
    /// if it is known; `None` is the default style. In a template `{prefix}` is the label, and `{msg}` is `stopped` once the map has failed, or was
    /// left early.
    ///
    /// A panic of the function is one of the map, before its first item.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::progress::{indicatif::ProgressStyle, set_style};
    ///
    /// set_style(|_label, total| match total {
    ///     Some(_) => ProgressStyle::with_template("{prefix}: {percent} %").ok(),
    ///     None => None, // as without this function
    /// });
    /// ```
    pub fn set_style(style: impl Fn(&str, Option<u64>) -> Option<ProgressStyle> + Send + Sync + 'static) {
        let style: StyleFn = Arc::new(style);
        let before = mutex::lock(&STYLE).replace(style);
        // The lock is free when what the function captured is dropped.
        drop(before);
    }

    /// The threads that unfinished bars began on, one entry per bar.
    static BEGUN_ON: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

    /// A bar that is drawn.
    pub(in crate::map::progress) struct DrawnBar {
        bar: ProgressBar,
        begun_on: ThreadId,
        /// Whether the bar belongs to an item of another map. It vanishes when it is done, or a bar for each item would
        /// stay.
        is_nested: bool,
    }

    impl DrawnBar {
        /// A bar with this label; with a length if `total` items are known.
        #[allow(clippy::unnecessary_wraps, reason = "the same call as without the feature")]
        pub(in crate::map::progress) fn new(label: &'static str, total: Option<u64>) -> Option<Self> {
            let hook = mutex::lock(&STYLE).clone();
            let style = hook.and_then(|style| style(label, total)).unwrap_or_else(|| default_style(total));
            let begun_on = thread::current().id();
            let is_nested = {
                let mut threads = mutex::lock(&BEGUN_ON);
                let is_nested = is_share() || threads.contains(&begun_on);
                threads.push(begun_on);
                is_nested
            };
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let bar = bar.with_style(style).with_prefix(label);
            // Without a terminal indicatif draws nothing.
            Some(Self { bar: bars().add(bar), begun_on, is_nested })
        }

        pub(in crate::map::progress) fn advance(&self, items: usize) {
            self.bar.inc(items as u64);
        }

        /// Ends the bar of a map that succeeded.
        pub(in crate::map::progress) fn finish(&self) {
            // The number of rows that a file's metadata claims may be wrong.
            let done = self.bar.position();
            if self.bar.length().is_some_and(|total| total != done) {
                self.bar.set_length(done);
            }
            if self.is_nested {
                self.bar.finish_and_clear();
            } else {
                self.bar.finish();
            }
        }
    }

    impl Drop for DrawnBar {
        fn drop(&mut self) {
            let mut threads = mutex::lock(&BEGUN_ON);
            if let Some(position) = threads.iter().position(|thread| *thread == self.begun_on) {
                threads.swap_remove(position);
            }
            drop(threads);
            if !self.bar.is_finished() {
                self.bar.abandon_with_message(STOPPED);
            }
        }
    }

    fn default_style(total: Option<u64>) -> ProgressStyle {
        let rate = |state: &ProgressState, f: &mut dyn std::fmt::Write| {
            let _ = write!(f, "{:.0}/s", state.per_sec());
        };
        // The time left while the map runs, and the time taken once it has ended.
        let time = |state: &ProgressState, f: &mut dyn std::fmt::Write| {
            let _ = if state.is_finished() {
                write!(f, "in {:.1?}", state.elapsed())
            } else {
                write!(f, "{:.0?} left", state.eta())
            };
        };
        let template = match total {
            Some(_) => "{prefix} {wide_bar} {human_pos}/{human_len} ({rate}, {time}) {msg}",
            None => "{prefix} {spinner} {human_pos} ({rate}) {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        style.with_key("rate", rate).with_key("time", time)
    }
}

/// A bar that is never drawn.
#[cfg(not(feature = "progress"))]
pub(super) enum DrawnBar {}

#[cfg(not(feature = "progress"))]
impl DrawnBar {
    pub(super) fn new(_: &'static str, _: Option<u64>) -> Option<Self> {
        None
    }

    pub(super) fn advance(&self, _: usize) {
        match *self {}
    }

    pub(super) fn finish(&self) {
        match *self {}
    }
}
