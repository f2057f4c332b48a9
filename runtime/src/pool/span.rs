//! [`CallerSpan`]: the span of a call's caller, of the crate `tracing` (feature of that name), which the worker enters.

/// The span that the caller was in.
pub(crate) struct CallerSpan {
    /// Boxed: most tasks of most programs have none, and the space for it would be in each task.
    #[cfg(feature = "tracing")]
    span: Option<Box<tracing::Span>>,
}

impl CallerSpan {
    /// The current span of this thread.
    pub(crate) fn here() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: Some(tracing::Span::current()).filter(|span| !span.is_none()).map(Box::new),
        }
    }

    /// Whether there is no span.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::unused_self, reason = "spans need the feature"))]
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.span.is_none();
        #[cfg(not(feature = "tracing"))]
        true
    }

    /// Enters the span on this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> EnteredSpan<'_> {
        EnteredSpan {
            #[cfg(feature = "tracing")]
            _entered: self.span.as_ref().map(|span| span.enter()),
            _span: self,
        }
    }
}

/// Exits the span when dropped.
pub(crate) struct EnteredSpan<'a> {
    #[cfg(feature = "tracing")]
    _entered: Option<tracing::span::Entered<'a>>,
    _span: &'a CallerSpan,
}
