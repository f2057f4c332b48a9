//! The ends that a [`Map`] and a [`FlatMap`] have alike, made of their other methods.

use std::cmp::Ordering;
use std::iter::{Product, once};

use super::{FlatMap, Map, MapFn, Source, Stage};

/// Implements the ends of a map. `$out` is the type of its results.
macro_rules! ends {
    ($map:ident<$($generic:ident),*>, $out:ty, $($bounds:tt)*) => {
        impl<$($generic),*> $map<$($generic),*>
        where
            $($bounds)*
        {
            /// Whether `is_match` holds for all results, as it does if there are none. It stops at the first for which
            /// it does not, as [`find_first`](Self::find_first) does.
            ///
            /// # Panics
            ///
            /// As `find_first`.
            ///
            /// # Examples
            ///
            /// ```
            /// assert!(fanfold::map(0..100, |n: i32| n * n).all(|square| square >= 0));
            /// ```
            #[track_caller]
            pub fn all<M>(self, is_match: M) -> bool
            where
                M: Fn($out) -> bool + Sync,
            {
                !self.any(|result| !is_match(result))
            }

            /// A result for which `is_match` holds, whichever is found; it stops as [`find_first`](Self::find_first)
            /// does.
            ///
            /// # Panics
            ///
            /// As `find_first`.
            ///
            /// # Examples
            ///
            /// ```
            /// let divisor = fanfold::map(2..91, |n: u32| n).find_any(|n| 91 % n == 0);
            /// assert!(matches!(divisor, Some(7 | 13)));
            /// ```
            #[track_caller]
            pub fn find_any<M>(self, is_match: M) -> Option<$out>
            where
                M: Fn(&$out) -> bool + Sync,
                $out: Send,
            {
                // Blocks start in the order of the items, and the first match ends them all: none is known sooner.
                self.find_first(is_match)
            }

            /// The first value, in the order of the items, that `find` returns. It stops as
            /// [`find_first`](Self::find_first) does.
            ///
            /// # Panics
            ///
            /// As `find_first`, with the payload of `find` as well.
            ///
            /// # Examples
            ///
            /// ```
            /// let number = fanfold::map(["x", "7", "8"], str::trim).find_map_first(|text| text.parse::<u8>().ok());
            /// assert_eq!(number, Some(7));
            /// ```
            #[doc(alias = "find_map_any")]
            #[track_caller]
            pub fn find_map_first<G, R>(self, find: G) -> Option<R>
            where
                G: Fn($out) -> Option<R> + Sync,
                R: Send,
            {
                self.then(find).find_first(Option::is_some).flatten()
            }

            /// Runs `op` on each result, and returns the first error in the order of the items. It stops as
            /// [`find_first`](Self::find_first) does.
            ///
            /// # Errors
            ///
            /// That of `op`.
            ///
            /// # Panics
            ///
            /// As `find_first`, with the payload of `op` as well.
            ///
            /// # Examples
            ///
            /// ```
            /// let checked = fanfold::map([1, 2, 3], |n: u32| n).try_for_each(|n| if n < 3 { Ok(()) } else { Err(n) });
            /// assert_eq!(checked, Err(3));
            /// ```
            #[track_caller]
            pub fn try_for_each<E, O>(self, op: O) -> Result<(), E>
            where
                O: Fn($out) -> Result<(), E> + Sync,
                E: Send,
            {
                self.then(op).collect()
            }

            /// Combines the results, in the blocks of [`fold`](Self::fold); `None` if there are none. As deterministic
            /// as [`reduce`](Self::reduce).
            ///
            /// # Panics
            ///
            /// As `reduce`.
            ///
            /// # Examples
            ///
            /// ```
            /// let text = fanfold::map(["a", "b"], str::to_uppercase).reduce_with(|a, b| a + &b);
            /// assert_eq!(text.as_deref(), Some("AB"));
            /// ```
            #[track_caller]
            pub fn reduce_with<O>(self, op: O) -> Option<$out>
            where
                O: Fn($out, $out) -> $out + Sync,
                $out: Send,
            {
                let join = |a: Option<$out>, b| match (a, b) {
                    (Some(a), Some(b)) => Some(op(a, b)),
                    (a, b) => a.or(b),
                };
                self.fold(|| None, |a, b| join(a, Some(b))).reduce(join)
            }

            /// Multiplies the results, in the blocks of [`fold`](Self::fold). As deterministic as [`sum`](Self::sum).
            ///
            /// # Panics
            ///
            /// As `sum`.
            ///
            /// # Examples
            ///
            /// ```
            /// assert_eq!(fanfold::map(1..6, |n: u32| n).product::<u32>(), 120);
            /// ```
            #[track_caller]
            pub fn product<T>(self) -> T
            where
                T: Product<$out> + Product<T> + Send,
            {
                let multiply = |a: T, b: T| [a, b].into_iter().product();
                let one = || std::iter::empty::<T>().product();
                self.fold(one, |product, result| multiply(product, once(result).product())).reduce(multiply)
            }

            /// The least result, and the first of those that are equal; `None` if there are none.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// assert_eq!(fanfold::map([3, -1, 2], |n: i32| n * n).min(), Some(1));
            /// ```
            #[track_caller]
            pub fn min(self) -> Option<$out>
            where
                $out: Ord + Send,
            {
                self.min_by(Ord::cmp)
            }

            /// The greatest result, and the last of those that are equal; `None` if there are none.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// assert_eq!(fanfold::map([3, -4, 2], |n: i32| n * n).max(), Some(16));
            /// ```
            #[track_caller]
            pub fn max(self) -> Option<$out>
            where
                $out: Ord + Send,
            {
                self.max_by(Ord::cmp)
            }

            /// The least result by `compare`, and the first of those that are equal; `None` if there are none.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// let shortest = fanfold::map(["ccc", "a", "b"], str::to_owned).min_by(|a, b| a.len().cmp(&b.len()));
            /// assert_eq!(shortest.as_deref(), Some("a"));
            /// ```
            #[track_caller]
            pub fn min_by<C>(self, compare: C) -> Option<$out>
            where
                C: Fn(&$out, &$out) -> Ordering + Sync,
                $out: Send,
            {
                self.reduce_with(|a, b| if compare(&a, &b).is_le() { a } else { b })
            }

            /// The greatest result by `compare`, and the last of those that are equal, as `Iterator::max_by`; `None` if
            /// there are none.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// let largest = fanfold::map([1.5, 0.5], |x: f64| x * 2.0).max_by(f64::total_cmp);
            /// assert_eq!(largest, Some(3.0));
            /// ```
            #[track_caller]
            pub fn max_by<C>(self, compare: C) -> Option<$out>
            where
                C: Fn(&$out, &$out) -> Ordering + Sync,
                $out: Send,
            {
                self.reduce_with(|a, b| if compare(&a, &b).is_gt() { a } else { b })
            }

            /// The result with the least key, and the first of those; `None` if there are none. `key` is called once
            /// for each result, on its worker.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// let shortest = fanfold::map(["ccc", "a", "b"], str::trim).min_by_key(|text| text.len());
            /// assert_eq!(shortest, Some("a"));
            /// ```
            #[track_caller]
            pub fn min_by_key<K, G>(self, key: G) -> Option<$out>
            where
                K: Ord + Send,
                G: Fn(&$out) -> K + Sync,
                $out: Send,
            {
                let least = self.then(|result| (key(&result), result)).min_by(|(a, _), (b, _)| a.cmp(b));
                least.map(|(_, result)| result)
            }

            /// The result with the greatest key, and the last of those; `None` if there are none. `key` is called once
            /// for each result, on its worker.
            ///
            /// # Panics
            ///
            /// As [`reduce`](Self::reduce).
            ///
            /// # Examples
            ///
            /// ```
            /// let longest = fanfold::map(["ccc", "a", "bbb"], str::trim).max_by_key(|text| text.len());
            /// assert_eq!(longest, Some("bbb"));
            /// ```
            #[track_caller]
            pub fn max_by_key<K, G>(self, key: G) -> Option<$out>
            where
                K: Ord + Send,
                G: Fn(&$out) -> K + Sync,
                $out: Send,
            {
                let greatest = self.then(|result| (key(&result), result)).max_by(|(a, _), (b, _)| a.cmp(b));
                greatest.map(|(_, result)| result)
            }

            /// Collects the results for which `is_left` holds, and the others, each in the order of the items.
            /// `is_left` is called on the workers.
            ///
            /// # Panics
            ///
            /// As [`collect`](Self::collect).
            ///
            /// # Examples
            ///
            /// ```
            /// let (even, odd): (Vec<u32>, Vec<u32>) = fanfold::map(1..6, |n: u32| n * n).partition(|n| n % 2 == 0);
            /// assert_eq!((even, odd), (vec![4, 16], vec![1, 9, 25]));
            /// ```
            #[track_caller]
            pub fn partition<C, D, M>(self, is_left: M) -> (C, D)
            where
                M: Fn(&$out) -> bool + Sync,
                C: Default + Extend<$out>,
                D: Default + Extend<$out>,
                $out: Send,
            {
                let results: Vec<(bool, $out)> = self.then(|result| (is_left(&result), result)).collect();
                let (mut left, mut right) = (C::default(), D::default());
                for (is_left, result) in results {
                    if is_left { left.extend(once(result)) } else { right.extend(once(result)) }
                }
                (left, right)
            }
        }
    };
}

ends!(Map<S, F, A>, F::Out, S: Source<Item = A>, F: MapFn<A>);
ends!(FlatMap<S, F, A, P>, P::Out, S: Source<Item = A>, F: MapFn<A>, P: Stage<F::Out>);
