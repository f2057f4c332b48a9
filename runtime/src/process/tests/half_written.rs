//! A worker that dies while it writes a reply, after any instruction: a half-written reply does not count.

use crate::error::TaskError;
use crate::process::codec::direct::Bytes;
use crate::process::codec::{CodecError, Decoder, Direct, Encoder};
use crate::process::message::Connection;
use crate::process::os::Socket;
use crate::process::serve::{ReplyHeader, ReplyWriter, WorkerRequest, status};
use crate::process::transport::ring::{MAX_PAYLOAD, Rings};
use crate::sys::clock::Moment;

type Write<'a> = &'a dyn Fn(&mut Encoder<'_>) -> Result<(), CodecError>;

/// Runs `answer` in a child process, one instruction at a time. After each, `look` sees what the child would leave if
/// it died there, and returns true when the test is done. The child is killed then.
fn step_through(answer: impl FnOnce(&mut WorkerRequest<'_>), mut look: impl FnMut(&Rings) -> bool) {
    let (rings, _memory) = Rings::create().expect("there is memory");
    let (socket, _other) = Socket::pair().expect("there are sockets");
    let (mut connection, mut scratch) = (Connection::new(socket), Vec::with_capacity(1 << 10));
    let begun = Moment::now();
    let (connection, scratch) = (&mut connection, &mut scratch);
    let replies = ReplyWriter { rings: &rings, connection, scratch, open: None, left: 3, request: 0, begun };
    let mut serving = WorkerRequest { input: Decoder::new(&[], Vec::new()), replies };
    // SAFETY: the child runs nothing but `answer`, which only allocates and writes to memory. The C library supports
    // allocation after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: `ptrace` and `raise` take numbers, and the parent, which traces this process, continues it. `_exit`
        // runs no handlers.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            answer(&mut serving);
            libc::_exit(0);
        }
    }
    let mut status = 0;
    let mut steps = 0_u64;
    loop {
        // SAFETY: `status` is a valid place for the answer.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSTOPPED(status), "after {steps} instructions the child has not ended, but has: {status:#x}");
        if look(&rings) {
            break;
        }
        steps += 1;
        // SAFETY: the call takes numbers. The child is stopped, and this thread traces it.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) }, 0, "it can be traced");
    }
    assert!(steps > 100, "{steps} instructions are no reply");
    // SAFETY: the calls take numbers and a valid place for the answer. The child was not waited for to its end, so its
    // id is still its own.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
}

/// Checks that a reply counts when it is complete, and not before.
fn counts_only_when_complete(answer: impl FnOnce(&mut WorkerRequest<'_>), expected: u32) {
    let mut payload = Vec::new();
    step_through(answer, |rings| {
        if let Some(words) = rings.take_reply(&mut payload).expect("the memory is sound") {
            let ReplyHeader { status, count, request, .. } = ReplyHeader::from_words(words);
            assert_eq!((status, count, request), (expected, 1, 0));
            return true;
        }
        assert_eq!(rings.take_open_reply(&mut payload), Ok(0), "it is not published, and counts as a result");
        false
    });
}

#[test]
fn a_reply_with_attachments_counts_once_it_is_complete() {
    let result = Some(Bytes::from(vec![7; 33_000]));
    let write: Write<'_> = &|out| Direct::write(&result, out);
    counts_only_when_complete(|serving| serving.replies.result(write).expect("it can be written"), status::DONE);
}

#[test]
fn an_error_reply_counts_once_it_is_complete() {
    let error = TaskError::Init { message: "no".into() };
    counts_only_when_complete(|serving| serving.fail(&error), status::INIT);
}

#[test]
fn padding_without_a_frame_is_no_reply() {
    let (rings, _memory) = Rings::create().expect("there is memory");
    let mut payload = Vec::new();
    // Four frames of this length fit before the end of the ring. The next one goes to the front of the ring, behind
    // padding.
    let length = MAX_PAYLOAD - 1_000;
    for _ in 0..4 {
        assert_eq!(rings.write_reply([0, 0, 0], &vec![1; length]), Ok(Some(())));
        assert!(rings.take_reply(&mut payload).expect("the memory is sound").is_some());
    }
    let mut place = rings.reserve_reply(length).expect("the memory is sound").expect("there is room");
    assert!(rings.has_reply(), "the padding before it");
    assert!(rings.take_reply(&mut payload).expect("the memory is sound").is_none());
    assert!(!rings.has_reply(), "a parent would not sleep");
    assert!(rings.append_result(&mut place, b"whole", length));
    assert_eq!(rings.take_open_reply(&mut payload), Ok(1));
    rings.publish_open_reply(&place, [0, 0, 0]);
    assert!(rings.take_reply(&mut payload).expect("the memory is sound").is_some());
    assert_eq!(payload, b"whole");
}

#[test]
fn the_complete_results_of_an_open_reply_count() {
    let mut payload = Vec::new();
    let (mut seen, mut published) = (0, false);
    let write = |n: u64| move |out: &mut Encoder<'_>| out.value(&(n, [n; 5]));
    let answer = |serving: &mut WorkerRequest<'_>| {
        for n in 1 << 40..(1 << 40) + 3_u64 {
            serving.replies.result(write(n)).expect("it can be written");
        }
        serving.replies.flush();
    };
    step_through(answer, |rings| {
        let mut count = rings.take_open_reply(&mut payload).expect("the memory is sound");
        if let Some(words) = rings.take_reply(&mut payload).expect("the memory is sound") {
            count = ReplyHeader::from_words(words).count;
            published = true;
        }
        assert!(count >= seen, "{count} after {seen}");
        let mut input = Decoder::new(&payload, Vec::new());
        for n in (1 << 40..).take(count as usize) {
            let read = input.part("it is whole", Decoder::value::<(u64, [u64; 5])>).expect("it is whole");
            assert_eq!(read, (n, [n; 5]));
        }
        seen = count;
        published
    });
    assert_eq!(seen, 3);
}
