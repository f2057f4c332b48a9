//! The guide: how to use Fanfold, by topic. The reference is in the documentation of each item.
//!
//! | chapter | for |
//! |---|---|
//! | [Ten minutes](crate::guide::start) | everyone: from a function to a parallel program |
//! | [Which kind](crate::guide::kinds) | threads, async tasks or processes, and which form of call |
//! | Coming [from Python](crate::guide::python), [from rayon](crate::guide::rayon), [from Tokio](crate::guide::tokio), [from Polars](crate::guide::polars) | each call there, and its form here |
//! | [In a web service](crate::guide::services) | off the runtime, disconnects, deadlines, bounded queues, metrics |
//! | [Errors and panics](crate::guide::errors) | what each call does in each case |
//! | [Borrowing](crate::guide::borrowing) | what may be borrowed, and what must be owned |
//! | [Frames](crate::guide::frames) | a cookbook of frames in chunks |
//! | [Processes](crate::guide::processes) | what a worker sees, what is shared, whom to trust |
//! | [Sizes](crate::guide::sizes) | workers, chunks and queues |
//! | [Observing](crate::guide::observing) | figures, metrics, spans and progress |
//! | [Many machines](crate::guide::machines) | the same functions on a cluster |
//! | [Testing](crate::guide::testing) | tests, and debugging on one thread |
//! | [Compiler messages](crate::guide::messages) | what the compiler says, and what to do |
//! | [Platforms](crate::guide::platforms) | systems, limits, versions |

macro_rules! chapters {
    ($($name:ident)*) => {
        $(
            #[doc = include_str!(concat!("../guide/", stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

chapters! {
    start kinds python rayon tokio polars errors borrowing frames processes services sizes observing machines testing
    messages platforms
}
