//! The adaptors and ends of maps whose results arrive on the calling thread: [`TimedMap`](super::TimedMap) and
//! [`AsyncMap`](crate::AsyncMap). They are those of the map's iterator.

/// Implements adaptors and ends of a map that can be iterated. `$out` is the type of its results.
macro_rules! iterated_ends {
    ($map:ident<$($generic:ident),*>, $out:ty, $($bounds:tt)*) => {
        /// Adaptors and ends of the map's iterator: their closures run on the calling thread.
        impl<$($generic),*> $map<$($generic),*>
        where
            $($bounds)*
        {
            /// Keeps the results for which `is_kept` holds.
            pub fn filter<P>(self, is_kept: P) -> std::iter::Filter<<Self as IntoIterator>::IntoIter, P>
            where
                P: FnMut(&$out) -> bool,
            {
                self.into_iter().filter(is_kept)
            }

            /// Keeps the values for which `next` returns `Some`.
            pub fn filter_map<G, R>(self, next: G) -> std::iter::FilterMap<<Self as IntoIterator>::IntoIter, G>
            where
                G: FnMut($out) -> Option<R>,
            {
                self.into_iter().filter_map(next)
            }

            /// Makes any number of results of each one.
            pub fn flat_map<G, I>(self, next: G) -> std::iter::FlatMap<<Self as IntoIterator>::IntoIter, I, G>
            where
                G: FnMut($out) -> I,
                I: IntoIterator,
            {
                self.into_iter().flat_map(next)
            }

            /// Runs `next` on each result.
            pub fn then<G, R>(self, next: G) -> std::iter::Map<<Self as IntoIterator>::IntoIter, G>
            where
                G: FnMut($out) -> R,
            {
                self.into_iter().map(next)
            }

            /// Puts the number of its item before each result, or with [`unordered`](Self::unordered) that of its
            /// arrival; from 0 on.
            pub fn enumerate(self) -> std::iter::Enumerate<<Self as IntoIterator>::IntoIter> {
                self.into_iter().enumerate()
            }

            /// Runs the map and returns the number of results.
            ///
            /// # Panics
            ///
            /// As [`collect`](Self::collect).
            pub fn count(self) -> usize {
                self.into_iter().count()
            }

            /// Whether `is_match` holds for a result. No further item starts after that.
            ///
            /// # Panics
            ///
            /// As [`collect`](Self::collect).
            pub fn any(self, is_match: impl FnMut($out) -> bool) -> bool {
                self.into_iter().any(is_match)
            }

            /// Whether `is_match` holds for all results. No further item starts after the first for which it does not.
            ///
            /// # Panics
            ///
            /// As [`collect`](Self::collect).
            pub fn all(self, is_match: impl FnMut($out) -> bool) -> bool {
                self.into_iter().all(is_match)
            }

            /// The first result for which `is_match` holds. No further item starts after that.
            ///
            /// # Panics
            ///
            /// As [`collect`](Self::collect).
            pub fn find_first(self, is_match: impl FnMut(&$out) -> bool) -> Option<$out> {
                self.into_iter().find(is_match)
            }
        }
    };
}

pub(crate) use iterated_ends;
