//! Frame chunks that only the calling thread can run: every frame worker waits for it, and the operating system refuses
//! new threads. The test is a process of its own: this program runs itself with a thread limit.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread;

use fanfold::Pool;
use fanfold::prelude::*;
use polars::prelude::*;

/// Set in the process that runs the body of the test.
const IN_CHILD: &str = "FANFOLD_TEST_FRAMES_REFUSED";

static ONE: Pool = Pool::cpu("one").threads(1);

/// Makes every later attempt of this process to start a thread fail.
fn refuse_threads() {
    // The limit does not apply to root, and counts the threads of a user: this user id has no others.
    let user = 1_100_000 + std::process::id();
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls take numbers and pointers to `now`, which is alive and writable.
    unsafe {
        assert!(libc::geteuid() != 0 || libc::setuid(user) == 0);
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut now), 0);
        now.rlim_cur = 1;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const now), 0);
    }
    thread::Builder::new().spawn(|| ()).expect_err("a thread is refused");
}

fn on_the_pool(df: &DataFrame) -> DataFrame {
    df.par_chunks(2).on(&ONE).map(Ok).expect("no error")
}

fn waits_for_a_thread() {
    let df = df!("x" => [1, 2, 3]).expect("one column");
    let (work, asked) = mpsc::channel::<DataFrame>();
    let (answers, answer) = mpsc::channel();
    thread::spawn(move || asked.iter().for_each(|df| answers.send(on_the_pool(&df)).expect("it is awaited")));
    // Starts the pool's worker and all threads that start only once.
    assert_eq!(on_the_pool(&df), df);
    refuse_threads();
    let answer = Mutex::new(answer);
    let outer = |df: DataFrame| {
        work.send(df).expect("the thread waits for work");
        Ok(answer.lock().expect("nothing panics").recv().expect("the thread answers"))
    };
    assert_eq!(df.par_chunks(1).on(&ONE).map(outer).expect("no error"), df);
}

#[test]
fn a_calling_thread_runs_chunks_while_all_workers_wait_for_it() {
    if std::env::var_os(IN_CHILD).is_some() {
        // SAFETY: `alarm` takes a number; the signal's default action ends this process.
        unsafe { libc::alarm(60) };
        return waits_for_a_thread();
    }
    let test = "a_calling_thread_runs_chunks_while_all_workers_wait_for_it";
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(IN_CHILD, "yes").output();
    let ended = ended.expect("this program starts again");
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && stdout.contains("1 passed"), "{}: {stdout}\n{stderr}", ended.status);
}
