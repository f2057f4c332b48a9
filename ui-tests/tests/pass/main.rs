//! Programs that compile with the attribute, and run: a module of each, which may shadow names and deny lints as a crate
//! does. Those that need a process or a `main` function of their own are in `tests/programs`.
#![allow(
    missing_docs,
    unreachable_pub,
    unused,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "they are to look like a user's"
)]

pub mod async_functions;
pub mod borrowed;
pub mod bounded_calls;
pub mod channels_of_plain_values;
pub mod chunk_counts;
pub mod collect;
pub mod companion_and_crate;
pub mod conditional;
pub mod impl_trait;
pub mod kinds;
pub mod lifetimes;
pub mod lints;
pub mod macro_rules;
pub mod map_without_arguments;
pub mod methods;
pub mod modules;
pub mod nested_items;
pub mod never;
#[rustfmt::skip]
pub mod one_liners;
pub mod own_split_and_gather;
pub mod patterns;
pub mod raw_identifiers;
pub mod shadowed_names;
pub mod state_of_methods;
pub mod strict_lints;
pub mod traits;
pub mod unsafe_function;
