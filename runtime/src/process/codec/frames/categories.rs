//! Keeps the categories of columns that were sent or received alive, for the life of the process.
//!
//! Polars finds categories by their name, and forgets them when their last column is dropped. If one thread drops that
//! column while another looks up the name, the second thread gets new categories, which the first thread then removes
//! from Polars' list: in 0.55, `Categories::drop` removes the entry of its name, even if other categories are in it.
//! The next column of this name then gets a third set of categories; it neither equals nor stacks with the others.
//! Reading a column looks names up on any thread, so Fanfold retains all categories that it has written or read.

use std::sync::{Arc, Mutex};

use polars_arrow::datatypes::{DTYPE_CATEGORICAL_NEW, Field};
use polars_dtype::categorical::Categories;

use crate::sys::mutex;
use crate::sys::owner::PerProcess;

/// The categories that are retained at most; programs may make up names. The first ones stay, because releasing one is
/// the race above.
const MAX_RETAINED: usize = 1_000;
/// The length of a name at most, in bytes.
const MAX_NAME_LEN: usize = 1_000;

/// The retained categories. In a forked process the parent's list stays in memory, and the process has a list of its
/// own.
static RETAINED: PerProcess<Mutex<Vec<Arc<Categories>>>> = PerProcess::new();

/// Retains the categories of a column, if it has any. The caller holds the column, or makes it later.
pub(super) fn retain(field: &Field) {
    let Some(named) = field.metadata.as_ref().and_then(|metadata| metadata.get(DTYPE_CATEGORICAL_NEW)) else { return };
    if named.len() > MAX_NAME_LEN {
        return;
    }
    let Some(categories) = find(named) else { return };
    let mut retained = mutex::lock(RETAINED.get());
    // There may be two sets of categories of one name, if Polars had dropped the first from its list.
    if retained.len() < MAX_RETAINED && !retained.iter().any(|one| Arc::ptr_eq(one, &categories)) {
        retained.push(categories);
    }
}

/// Parses the name of categories as Polars writes it: length, `;` and name, the same for the namespace, and the
/// physical type.
fn find(named: &str) -> Option<Arc<Categories>> {
    let (name, rest) = text(named)?;
    let (namespace, rest) = text(rest)?;
    let physical = rest.strip_suffix(';')?.parse().ok()?;
    Some(Categories::new(name.into(), namespace.into(), physical))
}

/// Parses a length, `;` and a text of this length; returns the text and the rest.
fn text(from: &str) -> Option<(&str, &str)> {
    let (len, rest) = from.split_once(';')?;
    rest.split_at_checked(len.parse().ok()?)
}
