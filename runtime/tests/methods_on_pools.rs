//! `Type::name_on(&pool)`: methods on a pool that is chosen at run time.

use std::sync::Arc;
use std::thread;

use fanfold::{Pool, TaskError, parallel};

fn name() -> String {
    thread::current().name().unwrap_or("?").to_owned()
}

struct Scale<T>(T);

impl<T: Copy + Into<u64> + Send + Sync + 'static> Scale<T> {
    #[parallel(kind = "cpu")]
    fn times(&self, n: u64) -> (String, u64) {
        (name(), self.0.into() * n)
    }

    #[parallel(kind = "io", companion = Self)]
    fn length(text: &str) -> (String, usize) {
        (name(), text.len())
    }

    #[parallel(kind = "io")]
    fn counted<const N: usize>(self: Arc<Self>) -> (String, usize) {
        (name(), N)
    }

    #[parallel(kind = "io")]
    fn add(&mut self, more: T) -> String
    where
        T: std::ops::AddAssign,
    {
        self.0 += more;
        name()
    }

    #[parallel(kind = "cpu", chunks = 3)]
    fn scaled(&self, numbers: Vec<u64>) -> Vec<(String, u64)> {
        numbers.into_iter().map(|n| (name(), self.0.into() * n)).collect()
    }

    #[parallel(kind = "io", chunks = 2, companion = Self)]
    fn lengths(texts: Vec<String>) -> Vec<usize> {
        texts.iter().map(String::len).collect()
    }

    #[parallel(kind = "io", chunks = 2)]
    #[allow(clippy::too_many_arguments, reason = "eleven beside the receiver")]
    fn sums<U, const N: u64>(
        &self,
        numbers: Vec<U>,
        b: u64,
        c: u64,
        d: u64,
        e: u64,
        f: u64,
        g: u64,
        h: u64,
        i: u64,
        j: u64,
        k: u64,
    ) -> Vec<(String, u64)>
    where
        U: Copy + Into<u64> + Send + 'static,
    {
        let rest: u64 = [b, c, d, e, f, g, h, i, j, k].iter().sum();
        numbers.iter().map(|n| (name(), self.0.into() * (*n).into() + rest + N)).collect()
    }

    #[parallel(kind = "io", timeout = "20ms")]
    fn limited(self) -> Result<u64, TaskError> {
        while self.0.into() == 1 && !fanfold::cancelled() {
            thread::yield_now();
        }
        Ok(self.0.into())
    }
}

fn pool() -> Pool {
    Pool::io("chosen").threads(2).build().expect("a pool of two threads")
}

#[test]
fn direct_calls_and_maps_run_on_the_pool() {
    let (pool, mut scale) = (pool(), Scale(3_u32));
    let is_chosen = |name: &str| name.starts_with("fanfold-chosen-");
    let (thread, product) = Scale::times_on(&pool).call(&scale, 7);
    assert!(is_chosen(&thread) && product == 21, "{thread}");
    let (thread, length) = Scale::<u32>::length_on(&pool).call("four");
    assert!(is_chosen(&thread) && length == 4, "{thread}");
    assert!(is_chosen(&Scale::add_on(&pool).call(&mut scale, 2)));
    assert_eq!(scale.0, 5);
    let products: Vec<(String, u64)> = Scale::times_on(&pool).map((0..100).map(|n| (&scale, n))).collect();
    assert!(products.iter().enumerate().all(|(n, (name, product))| is_chosen(name) && *product == 5 * n as u64));
}

#[test]
fn chunks_of_methods_run_on_the_pool() {
    static CHOSEN: Pool = Pool::io("chosen").threads(2);
    let scale = Scale(3_u32);
    let scaled = Scale::scaled_on(&pool()).call(&scale, vec![1, 2, 3, 4]);
    assert!(scaled.iter().all(|(name, _)| name.starts_with("fanfold-chosen-")), "{scaled:?}");
    assert_eq!(scaled.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [3, 6, 9, 12]);
    let sums = Scale::sums_on::<u8, 1_000>(&pool()).call(&scale, vec![1, 2, 3], 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    assert!(sums.iter().all(|(name, _)| name.starts_with("fanfold-chosen-")), "{sums:?}");
    assert_eq!(sums.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1_058, 1_061, 1_064]);
    let texts = vec!["a".to_owned(), "bb".to_owned(), String::new()];
    assert_eq!(Scale::<u32>::lengths_on(&CHOSEN).submit(texts).join().expect("no panic"), [1, 2, 0]);
}

#[test]
fn tasks_own_their_receiver() {
    static CHOSEN: Pool = Pool::io("chosen").threads(2);
    let scale = Arc::new(Scale(3_u32));
    let (thread, n) = Scale::counted_on::<4>(&CHOSEN).submit(Arc::clone(&scale)).join().expect("no panic");
    assert!(thread.starts_with("fanfold-chosen-") && n == 4, "{thread}");
    assert!(matches!(Scale::limited_on(&CHOSEN).call(Scale(1_u32)), Err(TaskError::TimedOut { .. })));
}
