//! Ctrl-C and the end of `main`, in processes of their own: waits and workers never hold a program back.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use fanfold::{Pending, Pool, TaskError, as_completed, parallel};

/// This program, told to run one of the tests below that are marked `#[ignore]`; with what it has said before `ready`.
fn started(test: &str) -> Child {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    // What a shell runs in the background ignores Ctrl-C, and so would all that it starts.
    // SAFETY: `signal` may be called between `fork` and `exec`.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("it can be started again");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("ready")), "`{test}` never got so far");
    // Read on, so that the child never writes into a closed pipe.
    std::thread::spawn(move || said.for_each(drop));
    child
}

fn interrupt(mut child: Child) -> ExitStatus {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is a program");
    assert!(sent.success());
    child.wait().expect("it ends")
}

#[parallel(kind = "io")]
fn endless() {
    loop {
        std::thread::park();
    }
}

#[parallel(kind = "io")]
fn says_ready() {
    println!("ready");
}

#[test]
fn an_interrupt_ends_a_program_that_waits() {
    for test in ["child_joins", "child_waits_for_many", "child_maps"] {
        assert_eq!(interrupt(started(test)).signal(), Some(libc::SIGINT), "{test}");
    }
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_joins() {
    let task = endless::submit();
    says_ready();
    let _ = task.join();
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_waits_for_many() {
    let tasks: Vec<_> = (0..50).map(|_| endless::submit()).collect();
    says_ready();
    as_completed(tasks).for_each(drop);
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_maps() {
    Pool::io_default().map(0..10, |_| (says_ready(), endless())).collect::<Vec<_>>();
}

/// What queued tasks become when a handler shuts their pool down, in one try.
#[test]
fn an_interrupt_handler_ends_every_wait() {
    assert!(interrupt(started("child_handles_the_interrupt")).success());
}

#[test]
#[ignore = "run by `an_interrupt_handler_ends_every_wait`"]
fn child_handles_the_interrupt() {
    static POOL: Pool = Pool::io("interrupted").threads(1);
    ctrlc::set_handler(|| POOL.shutdown(Pending::Cancel)).unwrap();
    let (all, all_queued) = std::sync::mpsc::channel::<()>();
    let running = POOL.submit(move || {
        let _ = all_queued.recv();
        says_ready::serial();
        while !fanfold::cancelled() {
            std::thread::yield_now();
        }
        "stopped"
    });
    let queued: Vec<_> = (0..100).map(|_| POOL.submit(|| panic!("it must not run"))).collect();
    drop(all);
    for (_, outcome) in as_completed(queued) {
        let outcome: Result<(), _> = outcome;
        assert!(matches!(outcome, Err(TaskError::Cancelled)));
    }
    running.cancel();
    assert_eq!(running.join().unwrap(), "stopped");
}

#[test]
fn the_end_of_main_does_not_wait_for_workers() {
    let mut child = started("child_ends_early");
    assert!(child.wait().expect("it ends").success());
}

#[test]
#[ignore = "run by `the_end_of_main_does_not_wait_for_workers`"]
fn child_ends_early() {
    drop(endless::submit());
    drop(Pool::cpu_default().submit(endless::serial));
    says_ready();
}
