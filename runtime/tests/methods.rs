//! `#[parallel]` on methods, associated functions and functions without companions.

use std::sync::Arc;
use std::thread;

use fanfold::{TaskError, parallel};

struct Grid {
    cells: Vec<u64>,
}

impl Grid {
    const PIECES: usize = 3;

    #[parallel(kind = "cpu")]
    fn total(&self, factor: u64) -> u64 {
        self.cells.iter().sum::<u64>() * factor
    }

    #[parallel(kind = "cpu")]
    fn len(&self) -> usize {
        self.cells.len()
    }

    #[parallel(kind = "cpu")]
    fn push(&mut self, cell: u64) -> &mut u64 {
        self.cells.push(cell);
        self.cells.last_mut().expect("a cell was pushed")
    }

    #[parallel(kind = "cpu")]
    fn first<'s>(&'s self, other: &'s [u64]) -> &'s u64 {
        self.cells.first().unwrap_or(&other[0])
    }

    #[parallel(kind = "io")]
    fn into_cells(mut self, extra: u64) -> Vec<u64> {
        self.cells.push(extra);
        self.cells
    }

    #[parallel(kind = "io")]
    fn counted(self: Arc<Self>, at: usize) -> Option<u64> {
        self.cells.get(at).copied()
    }

    #[parallel(kind = "cpu", companion = Self)]
    fn square(n: u64) -> u64 {
        n * n
    }

    #[parallel(kind = "cpu")]
    fn of(cells: Vec<u64>) -> Self {
        Self { cells }
    }

    #[parallel(kind = "cpu", chunks = Self::PIECES)]
    fn scaled(&self, numbers: &[u64], by: u64) -> Vec<u64> {
        numbers.iter().map(|n| n * by + self.cells[0]).collect()
    }

    #[parallel(kind = "io", timeout = "1m")]
    fn at_in_time(self: Arc<Self>, at: usize) -> Result<u64, TaskError> {
        Ok(self.cells[at])
    }

    #[parallel(kind = "io", retries = 2)]
    fn retried(&self, tries: &std::sync::atomic::AtomicU32) -> Result<usize, u32> {
        match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            2 => Ok(self.cells.len()),
            failed => Err(failed),
        }
    }

    #[parallel(kind = "io", init = Vec::new)]
    fn count_seen(&self, #[worker] seen: &mut Vec<u64>, n: u64) -> usize {
        seen.push(n + self.cells[0]);
        seen.len()
    }

    #[parallel(kind = "cpu")]
    fn r#match(&self) -> bool {
        self.cells.is_empty()
    }

    #[parallel(kind = "cpu")]
    unsafe fn at(&self, index: usize) -> u64 {
        // SAFETY: the caller promises that the index is in bounds.
        unsafe { *self.cells.get_unchecked(index) }
    }
}

fn grid() -> Grid {
    Grid { cells: vec![1, 2, 3] }
}

#[test]
fn a_method_with_a_shared_receiver_can_be_called_in_every_way() {
    let shared = Arc::new(grid());
    assert_eq!(shared.total(2), 12);
    assert_eq!(shared.total_serial(2), 12);
    assert_eq!(shared.total_map(0..4).collect::<Vec<_>>(), [0, 6, 12, 18]);
    let task = Arc::clone(&shared).total_submit(10);
    drop(shared);
    assert_eq!(task.join().expect("no panic"), 60);
    let grids = [grid(), Grid { cells: vec![] }];
    assert_eq!(Grid::len_map(&grids).collect::<Vec<_>>(), [3, 0]);
    assert!(!grids[0].r#match() && grids[1].match_serial());
}

#[test]
fn a_method_with_a_mutable_receiver_may_return_a_reference() {
    let mut grid = grid();
    *grid.push(7) += 1;
    assert_eq!(grid.cells, [1, 2, 3, 8]);
    let mut grids = [Grid { cells: vec![] }, Grid { cells: vec![] }];
    let pushed: Vec<u64> =
        Grid::push_map(grids.iter_mut().zip([5, 6])).collect::<Vec<_>>().iter().map(|n| **n).collect();
    assert_eq!(pushed, [5, 6]);
    assert_eq!(grid.first(&[9]), &1);
}

#[test]
fn a_method_with_an_owned_receiver_moves_it() {
    assert_eq!(grid().into_cells(4), [1, 2, 3, 4]);
    assert_eq!(grid().into_cells_submit(5).join().expect("no panic"), [1, 2, 3, 5]);
    assert_eq!(Grid::into_cells_map([(grid(), 0), (grid(), 1)]).collect::<Vec<_>>(), [[1, 2, 3, 0], [1, 2, 3, 1]]);
    let shared = Arc::new(grid());
    assert_eq!(Arc::clone(&shared).counted(1), Some(2));
    assert_eq!(Arc::clone(&shared).counted_submit(5).join().expect("no panic"), None);
    // It owns its share of the `Arc`, so it can be iterated.
    assert_eq!(shared.counted_map(0..3).into_iter().flatten().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn associated_functions_can_be_called_in_every_way() {
    assert_eq!(Grid::square(3), 9);
    assert_eq!(Grid::square_map(0..4).collect::<Vec<_>>(), [0, 1, 4, 9]);
    assert_eq!(Grid::square_submit(5).join().expect("no panic"), 25);
    assert_eq!(Grid::of(vec![1]).cells, Grid::of_serial(vec![1]).cells);
    assert_eq!(Grid::of_submit(vec![4]).join().expect("no panic").cells, [4]);
}

#[test]
fn options_work_on_methods() {
    let shared = Arc::new(grid());
    assert_eq!(shared.scaled(&[1, 2, 3, 4], 10), [11, 21, 31, 41]);
    assert_eq!(Arc::clone(&shared).at_in_time(1).expect("in time"), 2);
    let mapped: Result<Vec<u64>, TaskError> = Arc::clone(&shared).at_in_time_map(0..3).collect();
    assert_eq!(mapped.expect("in time"), [1, 2, 3]);
    assert_eq!(shared.retried(&std::sync::atomic::AtomicU32::new(0)), Ok(3));
    assert_eq!(shared.retried(&std::sync::atomic::AtomicU32::new(3)), Err(5));
    assert_eq!(Arc::clone(&shared).count_seen_submit(1).join().expect("no panic"), 1);
    assert_eq!(shared.count_seen_map(0..5).collect::<Vec<_>>().len(), 5);
    // SAFETY: the grid has three cells, so index 2 is in bounds.
    assert_eq!(unsafe { shared.at(2) }, 3);
}

#[test]
fn methods_of_a_generic_type_with_a_lifetime() {
    struct View<'v, T> {
        items: &'v [T],
    }
    impl<'v, T: Sync + Send + PartialEq> View<'v, T> {
        #[parallel(kind = "cpu")]
        fn find(&self, wanted: &T) -> Option<&'v T> {
            self.items.iter().find(|item| *item == wanted)
        }

        #[parallel(kind = "cpu")]
        fn same<U: Send + Into<T>, const N: usize>(&self, others: [U; N]) -> usize {
            others.into_iter().zip(self.items).filter(|_| true).map(|(a, b)| usize::from(a.into() == *b)).sum()
        }
    }
    let items = [String::from("a"), String::from("b")];
    let view = View { items: &items };
    let found = view.find(&String::from("b"));
    assert_eq!(found, Some(&items[1]));
    assert_eq!(view.same(["a", "c"]), 1);
    let lasting: &'static [u64] = &[1, 2];
    let view = Arc::new(View { items: lasting });
    assert_eq!(view.find_submit(&2).join().expect("no panic"), Some(&2));
}

trait Shape: Sync {
    fn area(&self, scale: i64) -> i64;
    fn name(self) -> String
    where
        Self: Sized;

    #[parallel(kind = "io", companion = none)]
    fn thread(&self) -> Option<String> {
        thread::current().name().map(String::from)
    }
}

struct Square(i64);

impl Shape for Square {
    #[parallel(kind = "cpu", companion = none)]
    fn area(&self, mut scale: i64) -> i64 {
        if scale < 0 {
            return 0;
        }
        scale *= self.0;
        scale * self.0
    }

    #[parallel(kind = "cpu", companion = none)]
    fn name(self) -> String {
        format!("square of {} on {:?}", self.0, thread::current().name())
    }
}

#[test]
fn trait_methods_have_only_the_direct_call() {
    let shape: &dyn Shape = &Square(2);
    assert_eq!(shape.area(3), 12);
    assert_eq!(shape.area(-1), 0);
    assert!(shape.thread().expect("workers have names").starts_with("fanfold-io-"));
    assert!(Square(1).name().starts_with("square of 1 on Some(\"fanfold-cpu-"));
}

#[test]
fn a_function_without_companions_supports_every_signature() {
    #[parallel(kind = "cpu", companion = none)]
    fn parse<'a, T: std::str::FromStr + Send>(
        text: &'a str,
        (a, b): (u8, u8),
        f: impl Fn(&'a str) -> &'a str + Send,
    ) -> Option<(T, u8)> {
        let value = f(text).parse().ok()?;
        Some((value, a + b))
    }
    #[parallel(kind = "io", companion = none)]
    fn evens(limit: u32) -> impl Iterator<Item = u32> {
        (0..limit).step_by(2)
    }
    #[parallel(kind = "io", timeout = "1m", companion = none)]
    fn soon(n: u32) -> Result<u32, TaskError> {
        Ok(n)
    }
    assert_eq!(parse::<i32>(" 7", (1, 2), str::trim), Some((7, 3)));
    assert_eq!(parse::<i32>("x", (1, 2), |text| text), None);
    assert_eq!(evens(5).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(soon(3).expect("in time"), 3);
}
