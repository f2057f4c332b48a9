//! What the quickstart is made of: [`data`] reads the flights and airports, [`route`] and [`delay`] model one flight,
//! and [`timing`] compares a serial with a parallel run.

pub mod data;
pub mod delay;
pub mod route;
pub mod timing;
