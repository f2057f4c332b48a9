//! What goes along with a call to its worker: the span that the caller is in (feature `tracing`).

/// The caller's span.
pub(crate) struct CallerSpan {
    /// Boxed, as most tasks of most programs have none, and all would have room for it.
    #[cfg(feature = "tracing")]
    span: Option<Box<tracing::Span>>,
}

impl CallerSpan {
    /// That of this thread, now.
    pub(crate) fn here() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: Some(tracing::Span::current()).filter(|span| !span.is_none()).map(Box::new),
        }
    }

    /// Makes it this thread's, until the guard is dropped.
    pub(crate) fn enter(&self) -> EnteredSpan<'_> {
        EnteredSpan {
            #[cfg(feature = "tracing")]
            _span: self.span.as_ref().map(|span| span.enter()),
            _context: self,
        }
    }
}

/// A thread inside of a caller's context.
pub(crate) struct EnteredSpan<'a> {
    #[cfg(feature = "tracing")]
    _span: Option<tracing::span::Entered<'a>>,
    _context: &'a CallerSpan,
}
