//! The mistakes of one attribute, which are reported together.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// Collects errors. The drop panics unless [`into_tokens`](Self::into_tokens) or [`forget`](Self::forget) was called.
pub(crate) struct Errors {
    all: Vec<Error>,
    reported: bool,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), reported: false }
    }

    pub(crate) fn push(&mut self, error: Error) {
        self.all.push(error);
    }

    /// Adds an error at these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Discards the errors: the caller parses the function again.
    pub(crate) fn forget(mut self) {
        self.reported = true;
    }

    pub(crate) fn into_tokens(mut self) -> TokenStream {
        self.reported = true;
        self.all.iter().map(Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(self.reported || std::thread::panicking(), "errors must be reported");
    }
}
