use std::cell::Cell;
use std::rc::Rc;

use fanfold::{Pool, chunks, chunks_mut, enumerate, windows, zip};

fn main() {
    let pool = Pool::cpu_default();
    let mut shared = [Rc::new(1)];
    let cells = [Cell::new(1)];
    pool.map(&mut shared, |_| ()).for_each(drop);
    pool.map(chunks_mut(&mut shared, 2), |_| ()).for_each(drop);
    pool.map(chunks(&cells, 2), |_| ()).for_each(drop);
    pool.map(windows(&cells, 2), |_| ()).for_each(drop);
    pool.map(zip(&mut [1, 2], &cells), |_| ()).for_each(drop);
    pool.map(enumerate(&cells), |_| ()).for_each(drop);
}
