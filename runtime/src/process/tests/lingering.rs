//! Descriptors whose `close` waits, sent by a compromised worker: the parent closes them without waiting, wherever they
//! arrive.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::hostile::{send_copies, send_copies_with, sides};
use crate::process::os::{Handle, disable_linger};
use crate::process::socket::ChannelSocket;

/// A socket with unsent data whose last `close` takes 1,000 s as long as its peer, the second value, is open.
fn lingering() -> io::Result<(Handle, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    let bytes = vec![0; 1 << 16];
    while socket.write(&bytes).is_ok() {}
    socket.set_nonblocking(false)?;
    let long = libc::linger { l_onoff: 1, l_linger: 1_000 };
    let len = u32::try_from(size_of_val(&long)).expect("it is small");
    // SAFETY: the descriptor is open, and `long` is a value of `len` bytes that lives during the call.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const long).cast(), len)
    };
    assert_eq!(set, 0);
    Ok((socket.into(), peer))
}

/// Runs the case with a lingering socket, and checks that it returns in time.
#[track_caller]
fn ends_in_time(case: impl FnOnce(Handle) + Send + 'static) {
    let (socket, _peer) = lingering().expect("there are sockets");
    let (ended, end) = channel();
    thread::spawn(move || {
        case(socket);
        ended.send(())
    });
    end.recv_timeout(Duration::from_secs(30)).expect("closing does not wait");
}

/// A table entry of a message: a segment's number, and the length of its block.
fn described(segment: u64, len: u64) -> Vec<u8> {
    [segment.to_ne_bytes(), len.to_ne_bytes()].concat()
}

#[test]
fn unannounced_descriptors_are_closed_in_time() {
    // More descriptors than a message may have, and few.
    for count in [1, 17, 100] {
        ends_in_time(move |socket| {
            let (worker, mut parent) = sides();
            assert!(send_copies(&*worker.socket, b"s", &socket, count));
            drop(socket);
            assert_eq!(parent.drain_socket().is_ok(), count == 1);
            drop(parent);
        });
    }
}

#[test]
fn unread_descriptors_are_closed_in_time() {
    ends_in_time(|socket| {
        let (worker, parent) = sides();
        assert!(send_copies(&*worker.socket, b"s", &socket, 1));
        drop((socket, worker));
        drop(parent);
    });
    // Out-of-band data; not all kernels support it for Unix sockets.
    ends_in_time(|socket| {
        let (worker, parent) = sides();
        if !send_copies_with(libc::MSG_OOB, &*worker.socket, b"s", &socket, 1) {
            // The last `close` is in this thread then.
            disable_linger(&socket);
        }
        drop(socket);
        drop((parent, worker));
    });
    ends_in_time(|socket| {
        let (from, to) = ChannelSocket::pair().expect("there are sockets");
        assert!(send_copies(&*from.0, &[0, 1], &socket, 1));
        drop((socket, from));
        drop(to);
    });
    // A message without bytes.
    ends_in_time(|socket| {
        let (from, to) = ChannelSocket::pair().expect("there are sockets");
        assert!(send_copies(&*from.0, &[], &socket, 1));
        drop((socket, from));
        drop(to);
    });
}

#[test]
fn descriptors_of_the_wrong_kind_are_closed_in_time() {
    ends_in_time(|socket| {
        let (worker, mut parent) = sides();
        assert!(send_copies(&*worker.socket, b"s", &socket, 1));
        drop(socket);
        assert!(parent.open(1, &described(0, 64)).is_err(), "it is no segment");
    });
    ends_in_time(|socket| {
        let (worker, mut parent) = sides();
        assert!(send_copies(&*worker.socket, b"s", &socket, 1));
        drop(socket);
        let payload = described(u64::MAX, 0);
        let mut message = parent.open(1, &payload).expect("it came");
        assert!(message.decoder().descriptor().is_err(), "it is no end of a channel");
    });
    ends_in_time(|socket| {
        let (from, to) = ChannelSocket::pair().expect("there are sockets");
        assert!(send_copies(&*from.0, &[1], &socket, 1));
        drop(socket);
        assert!(to.receive(false).is_err(), "it is no message's memory");
    });
}
