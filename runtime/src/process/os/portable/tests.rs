//! Tests of connections and channel ends: both sides in one process.

use std::collections::VecDeque;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::link::Role;
use super::*;
use crate::process::os::ForeignHandle;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Sends a handle through a connection.
fn sent(from: &Socket, to: &Socket, handle: &Handle) -> ForeignHandle {
    send(from, b's', &[handle.as_handle()], true).expect("the other side is there");
    let mut handles = VecDeque::new();
    assert_eq!(receive(to.as_handle(), &mut [0; 8], &mut handles, true).expect("it came"), 1);
    handles.pop_front().expect("it has a handle")
}

fn ends() -> (Handle, Handle) {
    channel_pair().expect("a channel")
}

fn send_one(end: &Handle, byte: u8) -> io::Result<()> {
    send_bytes(end.as_handle(), &[&[byte]], &[], false)
}

fn receive_one(end: &Handle, wait: bool) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((receive(end.as_handle(), &mut byte, &mut VecDeque::new(), wait)? > 0).then_some(byte[0]))
}

#[test]
fn memory_crosses_in_both_directions() {
    let (parent, worker) = Socket::pair().expect("a connection");
    for (from, to) in [(&parent, &worker), (&worker, &parent)] {
        let memory = create_memory(1 << 20).expect("there is memory");
        let here = Mapping::new(&memory).expect("it can be mapped");
        let there = sent(from, to, &memory).into_memory().expect("it is memory");
        let there = Mapping::received(&there, 1 << 20).expect("it can be mapped");
        assert_eq!((here.len(), there.len()), (1 << 20, 1 << 20));
        // SAFETY: both mappings have at least 8 bytes, which nothing else uses.
        unsafe {
            here.start().cast::<u64>().write(7);
            assert_eq!(there.start().cast::<u64>().read(), 7);
        }
    }
}

#[test]
fn the_end_of_one_side_ends_the_waits_of_the_other() {
    for is_parent in [false, true] {
        let (parent, worker) = Socket::pair().expect("a connection");
        let (send, receive_end) = ends();
        let lent = sent(&parent, &worker, &receive_end).into_channel_socket().expect("it is an end");
        drop(receive_end);
        let (dropped, left) = if is_parent { (parent, worker) } else { (worker, parent) };
        drop(dropped);
        let read = receive(left.as_handle(), &mut [0], &mut VecDeque::new(), true).expect("it is no error");
        assert_eq!(read, 0);
        // The worker's end is gone with its connection.
        let deadline = soon();
        while !is_parent && send_one(&send, 1).is_ok() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        assert!(receive_one(&lent, true).map_or(true, |message| message.is_none()));
    }
}

#[test]
fn an_end_in_a_worker_sends_receives_waits_and_closes_as_one_in_its_parent() {
    let (parent, worker) = Socket::pair().expect("a connection");
    for sends_there in [false, true] {
        let (send_end, receive_end) = ends();
        let crosses = if sends_there { &send_end } else { &receive_end };
        let there = sent(&parent, &worker, crosses).into_channel_socket().expect("it is an end");
        let (sender, receiver) = if sends_there {
            drop(send_end);
            (there, receive_end)
        } else {
            drop(receive_end);
            (send_end, there)
        };
        assert_eq!(receive_one(&receiver, false).expect_err("it is empty").kind(), io::ErrorKind::WouldBlock);
        let past = Some(Instant::now());
        assert!(!wait_for_socket(receiver.as_handle(), false, past).expect("it is open"));
        let waits = thread::spawn({
            let receiver = receiver.try_clone().expect("a clone");
            move || (0..1_000_u32).map(|_| receive_one(&receiver, true)).collect::<Vec<_>>()
        });
        for n in 0..1_000_u32 {
            let n = n.to_le_bytes()[0];
            send_bytes(sender.as_handle(), &[&[n]], &[], true).expect("it is open");
        }
        let came = waits.join().expect("it does not panic");
        let expected = (0..1_000_u32).map(|n| Some(n.to_le_bytes()[0]));
        assert!(came.into_iter().map(|one| one.expect("it is open")).eq(expected));
        let mut filled = 0;
        while send_one(&sender, 5).is_ok() {
            filled += 1;
        }
        assert_eq!(filled, 256);
        drop(sender);
        for _ in 0..filled {
            assert_eq!(receive_one(&receiver, true).expect("it was sent"), Some(5));
        }
        assert_eq!(receive_one(&receiver, true).expect("it is closed"), None);
    }
}

#[test]
fn a_workers_channel_goes_to_its_parent_with_its_messages() {
    let (parent, worker) = Socket::pair().expect("a connection");
    let (send_end, receive_end) = ends();
    for n in 0..3 {
        send_one(&send_end, n).expect("there is room");
    }
    // One thread waits while the channel moves.
    let (full, waits) = ends();
    let waiting = thread::spawn({
        let waits = waits.try_clone().expect("a clone");
        move || receive_one(&waits, true)
    });
    let there = sent(&worker, &parent, &receive_end).into_channel_socket().expect("it is an end");
    drop(receive_end);
    let moved = sent(&worker, &parent, &full).into_channel_socket().expect("it is an end");
    drop(full);
    for n in 0..3 {
        assert_eq!(receive_one(&there, true).expect("it was sent"), Some(n));
    }
    send_one(&send_end, 9).expect("there is room");
    assert_eq!(receive_one(&there, true).expect("it was sent"), Some(9));
    send_one(&moved, 4).expect("there is room");
    assert_eq!(waiting.join().expect("it does not panic").expect("it was sent"), Some(4));
    // The worker has the last sender.
    drop(worker);
    assert_eq!(receive_one(&there, true).expect("it is closed"), None);
}

#[test]
fn an_end_is_reported_when_it_is_ready() {
    let (parent, worker) = Socket::pair().expect("a connection");
    let (send_end, receive_end) = ends();
    let there = sent(&parent, &worker, &receive_end).into_channel_socket().expect("it is an end");
    let poller = std::sync::Arc::new(Poller::new().expect("a poller"));
    poller.add(&receive_end, false, 1).expect("it can be watched");
    poller.add(&there, false, 2).expect("it can be watched");
    poller.remove(&there, 2);
    poller.add(&there, false, 3).expect("it can be watched");
    let (ready, came) = channel();
    thread::spawn({
        let poller = std::sync::Arc::clone(&poller);
        move || {
            let mut keys = Vec::new();
            while keys.len() < 2 {
                keys.extend(poller.wait().expect("it does not fail"));
            }
            ready.send(keys)
        }
    });
    send_one(&send_end, 1).expect("there is room");
    let mut keys = came.recv_timeout(Duration::from_secs(30)).expect("both are ready");
    keys.sort_unstable();
    assert_eq!(keys, [1, 3]);
}

#[test]
fn the_lock_of_an_ended_process_is_taken_over() {
    let memory = create_memory(64).expect("there is memory");
    let lock = MemoryLock::new(&memory).expect("a lock");
    let word = AtomicU32::new(0);
    assert!(lock.try_lock(&word).expect("it works") && !lock.try_lock(&word).expect("it works"));
    lock.unlock(&word);
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    let mut child = command.arg("--help").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    word.store(child.id(), Ordering::Relaxed);
    child.wait().expect("it ends");
    drop(child);
    assert!(lock.try_lock(&word).expect("it works"));
}

#[test]
fn what_no_sound_process_sends_ends_the_connection() {
    let (parent, worker) = Socket::pair().expect("a connection");
    assert_eq!(parent.link().expect("it is open").role, Role::Parent);
    // A request of an end that the worker does not have.
    worker.link().expect("it is open").tell(super::frame::Kind::CLOSE, 77, 0);
    assert_eq!(receive(parent.as_handle(), &mut [0], &mut VecDeque::new(), true).expect("it is no error"), 0);
    let (parent, worker) = Socket::pair().expect("a connection");
    let bytes = vec![1; 1 << 15];
    parent.link().expect("it is open");
    // What nobody takes is bounded.
    let deadline = soon();
    while send_bytes(worker.as_handle(), &[&bytes], &[], true).is_ok() {
        assert!(Instant::now() < deadline);
    }
    drop(parent);
}

#[cfg(unix)]
#[test]
fn a_forked_copy_does_not_end_the_connection() {
    let (parent, worker) = Socket::pair().expect("a connection");
    let memory = create_memory(64).expect("there is memory");
    sent(&parent, &worker, &memory);
    // SAFETY: the child only drops values, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((parent, worker));
        // SAFETY: `_exit` ends the child without running handlers.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    sent(&parent, &worker, &memory);
    sent(&worker, &parent, &memory);
}
