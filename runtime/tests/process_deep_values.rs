//! Values nested deeper than any stack: writing or reading one is an error, not a stack overflow.

use fanfold::{Pool, Receiver, Sender, TaskError, parallel};
use serde::{Deserialize, Serialize};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("workers").threads(1);

/// Deeper than the 64 MiB stacks of pool threads allow.
const DEEP: u32 = 3_000_000;

/// A linked list whose destructor is not recursive.
#[derive(Debug, Default, Serialize, Deserialize)]
struct List(Option<Box<List>>);

impl List {
    fn new(depth: u32) -> Self {
        (0..depth).fold(Self(None), |list, _| Self(Some(Box::new(list))))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut list) = next {
            next = list.0.take();
        }
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn depth(list: List) -> Result<u32, TaskError> {
    let (mut list, mut depth) = (&list, 0);
    while let Some(next) = &list.0 {
        (list, depth) = (next, depth + 1);
    }
    Ok(depth)
}

#[parallel(kind = "process", pool = WORKERS)]
fn make(depth: u32) -> Result<List, TaskError> {
    Ok(List::new(depth))
}

fn assert_reports<T: std::fmt::Debug>(outcome: Result<T, TaskError>, function: &str, what: &str) {
    let Err(error) = outcome else { panic!("it has crossed") };
    assert!(matches!(error, TaskError::Wire { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(function) && text.contains(what), "{text}");
    assert!(text.contains("nested too deep for the stack of the thread that writes it"), "{text}");
    assert!(text.contains("send them flat"), "{text}");
}

#[test]
fn an_argument_that_is_too_deep_is_an_error() {
    assert_eq!(depth(List::new(10)).expect("a worker"), 10);
    assert_reports(depth(List::new(DEEP)), "depth", "its arguments could not be sent");
    assert_reports(depth::submit(List::new(DEEP)).join().flatten(), "depth", "its arguments could not be sent");
    let mapped: Vec<_> = depth::map([List::new(1), List::new(DEEP), List::new(2)]).into_iter().collect();
    let [Ok(1), deep, Ok(2)] = <[_; 3]>::try_from(mapped).expect("three") else { panic!("the others are fine") };
    assert_reports(deep, "depth", "its arguments could not be sent");
}

#[test]
fn a_result_that_is_too_deep_is_an_error() {
    assert!(make(10).expect("a worker").0.is_some());
    assert_reports(make(DEEP), "make", "its result could not be sent");
    assert_reports(make::submit(DEEP).join().flatten(), "make", "its result could not be sent");
    // The worker survives.
    assert!(make(10).expect("a worker").0.is_some());
}

#[parallel(kind = "process", pool = WORKERS)]
fn take_sender(_: Sender<List>) {}

#[parallel(kind = "process", pool = WORKERS)]
fn take_receiver(_: Receiver<List>) -> Result<(), TaskError> {
    Ok(())
}

#[test]
fn a_message_that_is_too_deep_is_an_error() {
    let (sender, receiver) = fanfold::channel::<List>();
    // Within the process it is not written.
    sender.send(List::new(DEEP)).expect("there is a place");
    assert_reports(take_receiver(receiver.clone()), "take_receiver", "its arguments could not be sent");
    assert!(receiver.recv().expect("it was sent").0.is_some());
    take_sender(sender.clone());
    let unsent = sender.send(List::new(DEEP)).expect_err("it is too deep");
    assert!(unsent.value.0.is_some());
    assert!(unsent.to_string().contains("nested too deep for the stack of the thread that writes it"), "{unsent}");
}
