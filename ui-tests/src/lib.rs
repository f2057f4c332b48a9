//! Programs that use `#[parallel]`: those in `tests/pass` compile and run, those in `tests/fail` do not compile, and
//! each says why in the `.stderr` file beside it.
//!
//! To add one, write a `.rs` file in the folder of its topic. `TRYBUILD=overwrite cargo test -p fanfold-ui-tests`
//! writes the `.stderr` files; read what they say before you keep them.
