//! A mistake in the attribute causes no error about a result type without a name.
use fanfold::parallel;

#[parallel(kind = "cpu", colour = "red")]
fn squares(numbers: Vec<u32>) -> impl Iterator<Item = u32> {
    numbers.into_iter().map(|n| n * n)
}

struct Scale(u32);

impl Scale {
    #[parallel(kind = "cpu", colour = "red")]
    unsafe fn scaled<const N: usize>(&self, numbers: [u32; N], mut more: impl Iterator<Item = u32>) -> impl Fn() {
        let sum = numbers.into_iter().sum::<u32>() + more.next().unwrap_or(0) + self.0;
        move || drop(sum)
    }
}

fn main() {
    squares(vec![1]).for_each(drop);
    let _ = squares::submit(vec![1]).join().unwrap().count();
    squares::map([vec![1]]).for_each(|squares| drop(squares.count()));
    let _ = unsafe { Scale(1).scaled([1, 2], std::iter::empty())() };
}
