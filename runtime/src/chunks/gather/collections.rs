//! [`Gather`] for collections of the standard library and for tuples.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use super::{Gather, GatherError};

impl<T> Gather for Vec<T> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let length = parts.iter().map(Vec::len).sum::<usize>();
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        all.reserve_exact(length - all.len());
        for mut part in parts {
            all.append(&mut part);
        }
        Ok(all)
    }
}

impl<T> Gather for VecDeque<T> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        Ok(parts.into_iter().flatten().collect())
    }
}

impl Gather for String {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        Ok(parts.concat())
    }
}

impl Gather for () {
    fn gather(_: Vec<Self>) -> Result<Self, GatherError> {
        Ok(())
    }
}

impl<T: Eq + Hash, S: BuildHasher + Default> Gather for HashSet<T, S> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        Ok(parts.into_iter().flatten().collect())
    }
}

impl<T: Ord> Gather for BTreeSet<T> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        Ok(parts.into_iter().flatten().collect())
    }
}

impl<K: Eq + Hash, V: Gather, S: BuildHasher + Default> Gather for HashMap<K, V, S> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let mut by_key: HashMap<K, Vec<V>, S> = HashMap::default();
        for (key, value) in parts.into_iter().flatten() {
            by_key.entry(key).or_default().push(value);
        }
        let gathered = by_key.into_iter().map(|(key, values)| Ok((key, V::gather(values)?)));
        gathered.collect()
    }
}

impl<K: Ord, V: Gather> Gather for BTreeMap<K, V> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let mut by_key: BTreeMap<K, Vec<V>> = BTreeMap::new();
        for (key, value) in parts.into_iter().flatten() {
            by_key.entry(key).or_default().push(value);
        }
        let gathered = by_key.into_iter().map(|(key, values)| Ok((key, V::gather(values)?)));
        gathered.collect()
    }
}

macro_rules! tuples {
    ($($name:ident . $index:tt),*) => {
        impl<$($name: Gather),*> Gather for ($($name,)*) {
            fn is_failure(&self) -> bool {
                false $(|| self.$index.is_failure())*
            }

            #[allow(non_snake_case, reason = "a type's name also names the vector of its parts")]
            fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
                $(let mut $name = Vec::with_capacity(parts.len());)*
                for part in parts {
                    $($name.push(part.$index);)*
                }
                Ok(($($name::gather($name)?,)*))
            }
        }
    };
}
/// Implements the trait for the tuple of the bracketed types, and for each longer one.
macro_rules! tuples_from {
    ([$($done:tt)*]) => { tuples!($($done)*); };
    ([$($done:tt)*] $next:ident . $index:tt $($rest:tt)*) => {
        tuples!($($done)*);
        tuples_from!([$($done)*, $next.$index] $($rest)*);
    };
}
tuples_from!([A.0] B.1 C.2 D.3 E.4 F.5);
