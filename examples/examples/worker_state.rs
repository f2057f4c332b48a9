//! `init`: each worker opens its own `SQLite` connection once and uses it for all of its calls.
//!
//! `cargo run -p fanfold-examples --example worker_state`

use std::error::Error;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::{Pool, TaskError, parallel};
use rusqlite::{Connection, OpenFlags};

/// The database file. It is a static, because an initializer has no arguments.
static FILE: OnceLock<PathBuf> = OnceLock::new();
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// At most 4 connections, because each worker has one.
static DATABASE: Pool = Pool::io("sqlite").threads(4);

fn open() -> Result<Connection, Box<dyn Error>> {
    let file = FILE.get().ok_or("the file has no name yet")?;
    OPENED.fetch_add(1, Ordering::Relaxed);
    Ok(Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// `Connection` cannot be shared between threads; this one belongs to the worker.
#[parallel(kind = "io", pool = DATABASE, init = open)]
fn square(#[worker] connection: &mut Connection, n: i64) -> rusqlite::Result<i64> {
    connection.query_row("SELECT square FROM squares WHERE n = ?1", [n], |row| row.get(0))
}

fn open_missing() -> rusqlite::Result<Connection> {
    Connection::open_with_flags("no-such-file.sqlite", OpenFlags::SQLITE_OPEN_READ_ONLY)
}

#[parallel(kind = "io", init = open_missing)]
fn is_open(#[worker] connection: &mut Connection) -> bool {
    connection.is_autocommit()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?; // deleted at the end of `main`
    let file = FILE.get_or_init(|| folder.path().join("squares.sqlite"));
    let mut connection = Connection::open(file)?;
    let insert = connection.transaction()?;
    insert.execute("CREATE TABLE squares (n INTEGER PRIMARY KEY, square INTEGER NOT NULL)", [])?;
    for n in 0..1_000_i64 {
        insert.execute("INSERT INTO squares VALUES (?1, ?2)", [n, n * n])?;
    }
    insert.commit()?;

    let squares = square::map(0..1_000).collect::<Result<Vec<i64>, _>>()?;
    let opened = OPENED.load(Ordering::Relaxed);
    println!("queries        {:>9}", squares.len());
    println!("sum of squares {:>9}", squares.iter().sum::<i64>());
    println!("workers        {:>9} at most", DATABASE.stats().limit);
    println!("connections    {opened:>9}");

    // An initializer that fails is an error of the task.
    match is_open::submit().join() {
        Err(TaskError::Init { message, .. }) => println!("\n{message}"),
        other => println!("\n{other:?}"),
    }
    Ok(())
}
