//! A frame that is cut by a thread which all frame workers wait for, while the operating system refuses threads. The test
//! is a process of its own: this very program, told to be it, with a limit on threads that only it has.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread;

use fanfold::Pool;
use fanfold::prelude::*;
use polars::prelude::*;

/// Set in the process that runs the test's body.
const INSIDE: &str = "FANFOLD_TEST_FRAMES_REFUSED";

static ONE: Pool = Pool::cpu("one").threads(1);

/// From here on this process starts no thread.
fn refuse_threads() {
    // The limit does not hold for root. It counts the threads of a user: this one has no others.
    let user = 1_100_000 + std::process::id();
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: numbers, a structure to be written, and one to be read.
    unsafe {
        assert!(libc::geteuid() != 0 || libc::setuid(user) == 0);
        assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut now), 0);
        now.rlim_cur = 1;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &raw const now), 0);
    }
    thread::Builder::new().spawn(|| ()).expect_err("a thread is refused");
}

fn by_the_pool(df: &DataFrame) -> DataFrame {
    df.par_chunks(2).on(&ONE).map(Ok).expect("no error")
}

fn waits_for_a_thread() {
    let df = df!("x" => [1, 2, 3]).expect("one column");
    let (work, asked) = mpsc::channel::<DataFrame>();
    let (tell, answer) = mpsc::channel();
    thread::spawn(move || asked.iter().for_each(|df| tell.send(by_the_pool(&df)).expect("it is awaited")));
    // Its worker, and whatever else starts once.
    assert_eq!(by_the_pool(&df), df);
    refuse_threads();
    let answer = Mutex::new(answer);
    let outer = |df: DataFrame| {
        work.send(df).expect("the thread waits for work");
        Ok(answer.lock().expect("nothing panics").recv().expect("the thread answers"))
    };
    assert_eq!(df.par_chunks(1).on(&ONE).map(outer).expect("no error"), df);
}

#[test]
fn a_thread_does_the_chunks_itself_that_all_workers_wait_for() {
    if std::env::var_os(INSIDE).is_some() {
        // SAFETY: the signal's default action ends this process.
        unsafe { libc::alarm(60) };
        return waits_for_a_thread();
    }
    let test = "a_thread_does_the_chunks_itself_that_all_workers_wait_for";
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes").output();
    let ended = ended.expect("it can be started again");
    let (told, warned) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && told.contains("1 passed"), "{}: {told}\n{warned}", ended.status);
}
