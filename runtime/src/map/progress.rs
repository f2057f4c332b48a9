//! [`Bar`], the progress of one map: reported to a user's function, and drawn on a terminal.

mod bars;
mod report;

#[cfg(feature = "progress")]
pub use bars::{bars, println, set_style};
pub(crate) use report::ProgressFn;
pub use report::WithProgress;

use bars::DrawnBar;
use report::Reporter;

/// The progress of one map. [`finish`](Self::finish) ends it where the map succeeded; dropped before, it stays at the
/// position that was reached.
pub(crate) struct Bar<'a> {
    drawn: Option<DrawnBar>,
    reporter: Option<Reporter<'a>>,
}

impl<'a> Bar<'a> {
    /// The progress of `total` items, if their number is known. `None` if there is neither a label, which asks for a
    /// drawn bar, nor a function to report to.
    #[inline]
    pub(crate) fn new(label: Option<&'static str>, report: Option<ProgressFn<'a>>, total: Option<u64>) -> Option<Self> {
        if label.is_none() && report.is_none() { None } else { Some(Self::of(label, report, total)) }
    }

    #[cold]
    fn of(label: Option<&'static str>, report: Option<ProgressFn<'a>>, total: Option<u64>) -> Self {
        let drawn = label.and_then(|label| DrawnBar::new(label, total));
        let total = total.map(|total| usize::try_from(total).unwrap_or(usize::MAX));
        Self { drawn, reporter: report.map(|report| Reporter::new(report, total)) }
    }

    /// Adds items that are done. Called with no lock held: it calls the user's function.
    pub(crate) fn advance(&self, items: usize) {
        if let Some(drawn) = &self.drawn {
            drawn.advance(items);
        }
        if let Some(reporter) = &self.reporter {
            reporter.advance(items);
        }
    }

    /// Ends the progress of a map that succeeded. Called once, by the thread that returns its result.
    pub(crate) fn finish(&self) {
        if let Some(drawn) = &self.drawn {
            drawn.finish();
        }
        if let Some(reporter) = &self.reporter {
            reporter.finish();
        }
    }
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
