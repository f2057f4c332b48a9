//! Programs that use `#[parallel]`. Those in `tests/pass` and `tests/programs` compile and run. Those in `tests/fail` do
//! not compile; the compiler's message is in the `.stderr` file beside each.
//!
//! To add one, write a `.rs` file in the folder of its topic. `TRYBUILD=overwrite cargo test -p fanfold-ui-tests`
//! writes the `.stderr` files: read them before you commit them.
