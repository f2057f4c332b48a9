//! Code shared by the example programs, which are in `examples/`, one for each topic.
//!
//! For the quickstart, [`data`] reads the flights and airports, [`route`] and [`delay`] model one flight, and
//! [`timing`] compares a serial with a parallel run. For the requests, [`http`] is the server and the client.

pub mod data;
pub mod delay;
pub mod http;
pub mod route;
pub mod timing;
