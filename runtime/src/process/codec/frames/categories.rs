//! Categories that have travelled are retained.
//!
//! Polars finds categories by their name, and forgets them with the last column of them. If one thread drops that
//! column while another asks for the name, the second gets new ones, which the first then takes off the list (0.55:
//! `Categories::drop` removes what stands under its name, whoever that is). The next column of this name is of other
//! categories, and neither equals nor stacks. Reading a column asks for a name, on any thread, so Fanfold holds on to
//! those it has written or read.

use std::sync::{Arc, Mutex, PoisonError};

use polars_arrow::datatypes::{DTYPE_CATEGORICAL_NEW, Field};
use polars_dtype::categorical::Categories;

use crate::sys::owner::PerProcess;

/// So many at most, the first ones: programs may name them at random. To let go of one of them is what must not happen.
const MAX_RETAINED: usize = 1_000;
/// Bytes of a name, at most.
const MAX_NAME_LEN: usize = 1_000;

/// Those of a parent stay in the child of a fork, whose own list is another.
static RETAINED: PerProcess<Mutex<Vec<Arc<Categories>>>> = PerProcess::new();

/// Holds on to the categories of a column, if it has any. Called while the column lives, or before it is made.
pub(super) fn retain(field: &Field) {
    let Some(named) = field.metadata.as_ref().and_then(|metadata| metadata.get(DTYPE_CATEGORICAL_NEW)) else { return };
    if named.len() > MAX_NAME_LEN {
        return;
    }
    let Some(categories) = find(named) else { return };
    let mut retained = RETAINED.get().lock().unwrap_or_else(PoisonError::into_inner);
    // Of one name there may be two, if the first was off Polars' list already.
    if retained.len() < MAX_RETAINED && !retained.iter().any(|one| Arc::ptr_eq(one, &categories)) {
        retained.push(categories);
    }
}

/// The categories of a name as Polars writes it: length, `;`, name, the same of its namespace, and the size of a key.
fn find(named: &str) -> Option<Arc<Categories>> {
    let (name, rest) = text(named)?;
    let (namespace, rest) = text(rest)?;
    let physical = rest.strip_suffix(';')?.parse().ok()?;
    Some(Categories::new(name.into(), namespace.into(), physical))
}

/// A text behind its length, and what follows it.
fn text(from: &str) -> Option<(&str, &str)> {
    let (len, rest) = from.split_once(';')?;
    rest.split_at_checked(len.parse().ok()?)
}
