//! Functions of `kind = "process"` in modules, functions and macros, with all forms of arguments.
#![deny(warnings, missing_docs)]
#![forbid(unsafe_code)]

use fanfold::{Task, TaskError, parallel};

/// In a module.
mod inner {
    /// Of one argument.
    #[fanfold::parallel(kind = "process")]
    pub(crate) fn same(n: u32) -> u32 {
        n
    }
}

use inner::same;

#[parallel(kind = "process")]
fn no_arguments() {}

#[parallel(kind = "process")]
fn patterns(mut a: u32, (b, c): (u32, u32), _: String) -> u32 {
    a += b;
    a + c
}

#[parallel(kind = "process")]
fn never() -> ! {
    std::process::exit(7)
}

#[parallel(kind = "process", timeout = "10s", retries = 2)]
fn careful(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

#[parallel(kind = "process")]
fn with_errors(n: u32) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Some(vec![u8::try_from(n)?]))
}

#[fanfold::main]
fn main() -> Result<(), TaskError> {
    #[parallel(kind = "process")]
    fn local(n: u32) -> u32 {
        n + 1
    }
    assert_eq!(same(1), 1);
    no_arguments();
    assert_eq!(patterns(1, (2, 3), String::new()), 6);
    let task: Task<std::convert::Infallible> = never::submit();
    assert!(matches!(task.join(), Err(TaskError::WorkerDied { code: Some(7), .. })));
    assert_eq!(careful(4)?, 4);
    assert_eq!(local(4), 5);
    assert_eq!(with_errors(3).ok().flatten(), Some(vec![3]));
    assert_eq!(local::map(0..3).collect::<Vec<u32>>(), [1, 2, 3]);
    Ok(())
}
