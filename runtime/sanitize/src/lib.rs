//! The library's tests, compiled again for sanitizers and Miri: see README.md.
