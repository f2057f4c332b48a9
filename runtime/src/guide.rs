//! The guide: how to use Fanfold, by topic. The reference is in the documentation of each item.
//!
//! | chapter | for |
//! |---|---|
//! | [Ten minutes](start) | everyone: from a function to a parallel program |
//! | [Which kind](kinds) | threads, async tasks or processes, and which form of call |
//! | Coming from [Python](python), [rayon](rayon), [Tokio](tokio), [Polars](polars) | each call there, and its form here |
//! | [In a web service](services) | off the runtime, disconnects, deadlines, bounded queues, metrics |
//! | [Errors and panics](errors) | what each call does in each case |
//! | [Borrowing](borrowing) | what may be borrowed, and what must be owned |
//! | [Frames](frames) | a cookbook of frames in chunks |
//! | [Processes](processes) | what a worker sees, what is shared, whom to trust |
//! | [Sizes](sizes) | workers, chunks and queues |
//! | [Observing](observing) | figures, metrics, spans and progress |
//! | [Testing](testing) | tests, and debugging on one thread |

macro_rules! chapters {
    ($($name:ident)*) => {
        $(
            #[doc = include_str!(concat!("../guide/", stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

chapters!(start kinds python rayon tokio polars errors borrowing frames processes services sizes observing testing);
