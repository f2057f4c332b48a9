//! Code shared by the example programs, which are in `examples/`, one for each topic: the flights of the quickstart,
//! and [`http`], a server and a client for the requests.

pub mod http;

pub use fanfold_quickstart::{data, delay, route};
