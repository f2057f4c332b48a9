//! Empty: this package exists for the tests in `tests/`.
