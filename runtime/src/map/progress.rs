//! Progress bars, drawn by indicatif (feature `progress`).
//!
//! A bar is drawn only on a terminal. Without the feature, [`Bar::new`] returns `None`.

/// The progress bar of one map.
pub(crate) struct Bar {
    #[cfg(feature = "progress")]
    bar: indicatif::ProgressBar,
    /// Whether the thread panicked before the map began, which a destructor or a panic hook runs then.
    #[cfg(feature = "progress")]
    was_panicking: bool,
}

#[cfg(feature = "progress")]
impl Bar {
    /// A bar if there is a label; with a length if `total` items are known.
    pub(crate) fn new(label: Option<&'static str>, total: Option<u64>) -> Option<Self> {
        use indicatif::{ProgressBar, ProgressState, ProgressStyle};
        use std::fmt::Write;

        let rate = |state: &ProgressState, f: &mut dyn Write| {
            let _ = write!(f, "{:.0}/s", state.per_sec());
        };
        // The time left while the map runs, the time taken once it is done.
        let time = |state: &ProgressState, f: &mut dyn Write| {
            let _ = if state.is_finished() {
                write!(f, "in {:.1?}", state.elapsed())
            } else {
                write!(f, "{:.0?} left", state.eta())
            };
        };
        let label = label?;
        // Without a terminal indicatif draws nothing.
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{prefix} {wide_bar} {human_pos}/{human_len} ({rate}, {time})"),
            None => (ProgressBar::no_length(), "{prefix} {spinner} {human_pos} ({rate})"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", rate).with_key("time", time));
        }
        bar.set_prefix(label);
        Some(Self { bar, was_panicking: std::thread::panicking() })
    }

    pub(crate) fn advance(&self, items: usize) {
        self.bar.inc(items as u64);
    }
}

#[cfg(feature = "progress")]
impl Drop for Bar {
    fn drop(&mut self) {
        // After a panic the bar stays at its last position.
        if std::thread::panicking() && !self.was_panicking {
            self.bar.abandon();
        } else {
            self.bar.finish();
        }
    }
}

#[cfg(not(feature = "progress"))]
impl Bar {
    pub(crate) fn new(_: Option<&'static str>, _: Option<u64>) -> Option<Self> {
        None
    }

    #[allow(clippy::unused_self, reason = "the same call as with the feature")]
    pub(crate) fn advance(&self, _: usize) {}
}

/// Implemented for `()` with the feature `progress`: the check behind the attribute's `progress = ".."`.
#[diagnostic::on_unimplemented(
    message = "`progress = \"..\"` needs the feature `progress` of fanfold",
    label = "needs the feature `progress`",
    note = "in Cargo.toml: fanfold = {{ version = \"..\", features = [\"progress\"] }}"
)]
pub trait ProgressFeature {}

#[cfg(feature = "progress")]
impl ProgressFeature for () {}

/// The label of a bar; compiles only with the feature `progress`.
#[must_use]
pub const fn label<T: ProgressFeature>(label: &'static str) -> &'static str {
    label
}
