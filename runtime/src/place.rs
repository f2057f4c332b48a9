//! [`Place`]: where a map, the chunks of a frame or a scan run.

use std::sync::{Arc, LazyLock};

/// Where a map, the chunks of a frame or a scan can run: the argument of their `on`.
///
/// A [`Pool`](crate::Pool) is one, and so are an `Arc`, a `Box` and a `LazyLock` of a place. A crate that runs
/// functions on other machines implements it for its connection, as `fanfold-cluster` does: `W` is the work (a
/// [`Map`](crate::Map), or with frames a `FrameChunks` or a `Scan`), and `Placed` is the same work with the methods
/// that run it there.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use fanfold::{Pool, parallel};
///
/// #[parallel(kind = "cpu")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = Arc::new(Pool::cpu("few").threads(2).build().expect("threads can be had"));
/// assert_eq!(square::map(0..4).on(&pool).collect::<Vec<u64>>(), [0, 1, 4, 9]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{W}` cannot run on `{Self}`",
    label = "not a place for this work",
    note = "a `Pool` is a place, and a `fanfold_cluster::Cluster`"
)]
pub trait Place<W> {
    /// The work at this place.
    type Placed;
    /// Makes the work run at this place.
    fn place(&self, work: W) -> Self::Placed;
}

macro_rules! pointers {
    ($($pointer:ident)*) => {$(
        impl<W, P: Place<W> + ?Sized> Place<W> for $pointer<P> {
            type Placed = P::Placed;

            #[track_caller]
            fn place(&self, work: W) -> P::Placed {
                (**self).place(work)
            }
        }
    )*};
}
pointers!(Arc Box);

impl<W, P: Place<W> + ?Sized> Place<W> for &P {
    type Placed = P::Placed;

    #[track_caller]
    fn place(&self, work: W) -> P::Placed {
        (**self).place(work)
    }
}

impl<W, P: Place<W>, F: FnOnce() -> P> Place<W> for LazyLock<P, F> {
    type Placed = P::Placed;

    #[track_caller]
    fn place(&self, work: W) -> P::Placed {
        (**self).place(work)
    }
}
