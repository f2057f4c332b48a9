//! Collections of the standard library.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use super::{Gather, GatherError};

impl<T> Gather for Vec<T> {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let length = parts.iter().map(Vec::len).sum::<usize>();
        let mut parts = parts.into_iter();
        let mut whole = parts.next().unwrap_or_default();
        whole.reserve_exact(length - whole.len());
        for mut part in parts {
            whole.append(&mut part);
        }
        Ok(whole)
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

            #[allow(non_snake_case, reason = "each type's name serves for its column of parts")]
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
tuples!(A.0);
tuples!(A.0, B.1);
tuples!(A.0, B.1, C.2);
tuples!(A.0, B.1, C.2, D.3);
tuples!(A.0, B.1, C.2, D.3, E.4);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5);
