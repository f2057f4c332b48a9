//! [`pools`]: every pool of this process, with its name, kind and [`Stats`].

use std::sync::Arc;

use super::{Core, Kind, Pool, Stats, registry};

/// A pool in the list of [`pools`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct PoolInfo {
    /// The name that the pool was made with: `db` for `Pool::io("db")`. The default pools are `cpu`, `io`, `process` and
    /// `frame`. Names need not be unique.
    pub name: &'static str,
    /// What the pool is for.
    pub kind: Kind,
    /// What the pool has done, and does now.
    pub stats: Stats,
}

/// Every pool of this process that has started and was not dropped, the default ones included, in the order of their
/// starts.
///
/// A named pool that has mapped frames is in the list twice: the second time with the kind
/// [`Frame`](crate::PoolKind::Frame), for the threads that run its frames. In a forked child the pools of its parent
/// are in the list, with no threads.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, PoolKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let _uploads = Pool::io("uploads").threads(2).build()?;
/// for pool in fanfold::pools() {
///     println!("{} ({}): {} queued, {} done", pool.name, pool.kind, pool.stats.queued, pool.stats.done);
/// }
/// assert!(fanfold::pools().iter().any(|pool| pool.name == "uploads" && pool.kind == PoolKind::Io));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn pools() -> Vec<PoolInfo> {
    started_pools().iter().map(|core| PoolInfo { name: core.name, kind: core.kind, stats: core.stats() }).collect()
}

/// The pools that [`pools`] lists.
pub(crate) fn started_pools() -> Vec<Arc<Core>> {
    registry::all()
}

impl Pool {
    /// The name that the pool was made with. Its threads are called after it: `fanfold-name-0` and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// static DATABASE: Pool = Pool::io("db").threads(8);
    ///
    /// assert_eq!(DATABASE.name(), "db");
    /// assert_eq!(Pool::cpu_default().name(), "cpu");
    /// ```
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.spec.name
    }
}
