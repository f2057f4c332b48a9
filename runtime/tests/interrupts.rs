//! Ctrl-C and the end of `main`, in processes of their own: neither waits nor workers hold a program back.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use fanfold::{Pending, Pool, TaskError, as_completed, parallel};

/// Starts this program to run one of the ignored tests below, and waits until it has printed `ready`.
fn started(test: &str) -> Child {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    // A shell's background jobs ignore Ctrl-C, and so would all processes they start.
    // SAFETY: `signal` is async-signal-safe, so it may be called between `fork` and `exec`.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("this program starts again");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ready")), "`{test}` never got so far");
    // Keeps reading, so that the child never writes into a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
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
fn print_ready() {
    println!("ready");
}

#[test]
fn an_interrupt_ends_a_program_that_waits() {
    for test in ["child_joins_an_endless_task", "child_waits_for_many", "child_runs_an_endless_map"] {
        assert_eq!(interrupt(started(test)).signal(), Some(libc::SIGINT), "{test}");
    }
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_joins_an_endless_task() {
    let task = endless::submit();
    print_ready();
    let _ = task.join();
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_waits_for_many() {
    let tasks: Vec<_> = (0..50).map(|_| endless::submit()).collect();
    print_ready();
    as_completed(tasks).for_each(drop);
}

#[test]
#[ignore = "run by `an_interrupt_ends_a_program_that_waits`"]
fn child_runs_an_endless_map() {
    Pool::io_default().map(0..10, |_| (print_ready(), endless())).collect::<Vec<_>>();
}

/// A handler that shuts the pool down ends all queued tasks at the first Ctrl-C.
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
        print_ready::serial();
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
    print_ready();
}
