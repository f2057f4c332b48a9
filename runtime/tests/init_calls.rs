//! `init = call(..)`: an initializer with arguments, evaluated once for each worker.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{Pool, TaskError, parallel};

static DATABASE: Pool = Pool::io("init-calls").threads(2);
static OPENED: AtomicUsize = AtomicUsize::new(0);
const URL: &str = "db://here";

struct Connection {
    url: String,
    queries: usize,
}

fn connect(url: &str, retries: usize) -> Connection {
    OPENED.fetch_add(1, Ordering::Relaxed);
    Connection { url: format!("{url}?retries={retries}"), queries: 0 }
}

#[parallel(kind = "io", pool = DATABASE, init = connect(URL, 1 + 2))]
fn query(#[worker] connection: &mut Connection, id: usize) -> (String, usize) {
    connection.queries += 1;
    (connection.url.clone(), id)
}

#[test]
fn a_call_with_arguments_makes_the_state_once_for_each_worker() {
    let rows: Vec<_> = query::map(0..50).collect();
    for (id, row) in rows.into_iter().enumerate() {
        assert_eq!(row, ("db://here?retries=3".to_owned(), id));
    }
    let opened = OPENED.load(Ordering::Relaxed);
    assert!((1..=2).contains(&opened), "{opened} for at most 2 workers");
}

fn refuse(why: &str) -> Result<Connection, String> {
    Err(format!("no {why}"))
}

#[parallel(kind = "io", init = refuse("route"))]
fn unreachable_query(#[worker] _connection: &mut Connection) {}

fn panics(why: &str) -> Connection {
    panic!("no {why}")
}

#[parallel(kind = "io", init = panics("luck"))]
fn unlucky_query(#[worker] _connection: &mut Connection) {}

#[test]
fn a_call_may_fail_or_panic() {
    let failed = unreachable_query::submit().join().expect_err("no state, no call");
    assert!(matches!(&failed, TaskError::Init { .. }) && failed.to_string().contains("no route"), "{failed}");
    let failed = unlucky_query::submit().join().expect_err("no state, no call");
    assert!(matches!(&failed, TaskError::Init { .. }) && failed.to_string().contains("no luck"), "{failed}");
}

/// The first call of each worker fills the state with its argument.
#[parallel(kind = "io", pool = ONE, init = Option::default)]
fn first_wins(#[worker] first: &mut Option<u32>, n: u32) -> u32 {
    *first.get_or_insert(n)
}

static ONE: Pool = Pool::io("init-first").threads(1);

#[test]
fn a_state_may_be_filled_by_the_first_call() {
    assert_eq!((first_wins(7), first_wins(8)), (7, 7));
}

struct Parser;

impl Parser {
    fn with_depth(depth: usize) -> Vec<usize> {
        Vec::with_capacity(depth)
    }

    #[parallel(kind = "cpu", init = Self::with_depth(8), companion = Self)]
    fn parse(#[worker] scratch: &mut Vec<usize>, n: usize) -> usize {
        scratch.push(n);
        scratch.capacity().min(8)
    }
}

#[test]
fn a_call_may_name_the_type_of_a_method() {
    assert_eq!(Parser::parse(1), 8);
}

#[parallel(kind = "io", init = vec![1_u8, 2])]
fn numbers(#[worker] state: &mut Vec<u8>) -> usize {
    state.push(3);
    state.len() - 1
}

#[parallel(kind = "io", init = URL.to_owned())]
fn length(#[worker] state: &mut String) -> usize {
    state.push(' ');
    state.trim_end().len()
}

#[test]
fn macros_and_methods_are_calls() {
    assert_eq!((numbers(), length()), (2, URL.len()));
}
