//! The library's tests, compiled again for sanitizers: see README.md.
