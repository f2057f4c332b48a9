use std::panic::Location;

#[fanfold::parallel(kind = "cpu")]
#[track_caller]
fn line(_n: u32) -> u32 {
    Location::caller().line()
}

// Its panics, and Fanfold's, may well.
#[fanfold::parallel(kind = "cpu")]
#[track_caller]
fn first(numbers: Vec<u32>) -> u32 {
    #[track_caller]
    fn unwrap(number: Option<&u32>) -> u32 {
        *number.unwrap_or_else(|| panic!("{}", Location::caller()))
    }
    unwrap(numbers.first())
}

fn main() {
    line(1);
    first(vec![]);
}
