//! What the example programs share; the programs themselves are in `examples/`, one a topic.
//!
//! The quickstart: [`data`] reads the flights and airports, [`route`] and [`delay`] model one flight, and
//! [`timing`] compares a serial with a parallel run. The requests: [`http`] is both ends of them.

pub mod data;
pub mod delay;
pub mod http;
pub mod route;
pub mod timing;
