//! A worker that dies while it answers, at any instruction: what it leaves half-written is no reply.

use crate::error::TaskError;
use crate::process::codec::direct::Bytes;
use crate::process::codec::{CodecError, Decoder, Direct, Encoder};
use crate::process::message::Connection;
use crate::process::os::UnixStream;
use crate::process::serve::{ReplyHeader, ReplyWriter, Serving, status};
use crate::process::transport::ring::{MAX_PAYLOAD, Rings};
use crate::sys::clock::Moment;

type Write<'a> = &'a dyn Fn(&mut Encoder<'_>) -> Result<(), CodecError>;

/// Answers in a child process, and stops that after each of its instructions: `look` sees what the child would leave if
/// it died there, and says when it has seen enough. The child is killed then.
fn step_through(answer: impl FnOnce(&mut Serving<'_>), mut look: impl FnMut(&Rings) -> bool) {
    let (rings, _memory) = Rings::create().expect("there is memory");
    let (socket, _other) = UnixStream::pair().expect("there are sockets");
    let (mut connection, mut scratch) = (Connection::new(socket), Vec::with_capacity(1 << 10));
    let begun = Moment::now();
    let (connection, scratch) = (&mut connection, &mut scratch);
    let replies = ReplyWriter { rings: &rings, connection, scratch, open: None, left: 3, request: 0, begun };
    let mut serving = Serving { input: Decoder::new(&[], Vec::new()), replies };
    // SAFETY: the child runs nothing but `answer`, which allocates, and the C library has that work after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the parent traces this process and lets it go on; `_exit` runs nothing else.
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
        // SAFETY: waits for the child, and writes its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSTOPPED(status), "after {steps} instructions the child has not ended, but has: {status:#x}");
        if look(&rings) {
            break;
        }
        steps += 1;
        // SAFETY: the child is stopped, and this thread, which started it, traces it.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) }, 0, "it can be traced");
    }
    assert!(steps > 100, "{steps} instructions are no reply");
    // SAFETY: a child that was not waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
}

/// A reply that is all or nothing.
fn is_whole_or_none(answer: impl FnOnce(&mut Serving<'_>), expected: u32) {
    let mut payload = Vec::new();
    step_through(answer, |rings| {
        if let Some(words) = rings.take_reply(&mut payload).expect("nobody spoils it") {
            let ReplyHeader { status, count, request, .. } = ReplyHeader::from_words(words);
            assert_eq!((status, count, request), (expected, 1, 0));
            return true;
        }
        assert_eq!(rings.take_open_reply(&mut payload), Ok(0), "it is not published, and counts as a result");
        false
    });
}

#[test]
fn a_reply_with_blocks_counts_once_it_is_whole() {
    let result = Some(Bytes::from(vec![7; 33_000]));
    let write: Write<'_> = &|out| Direct::write(&result, out);
    is_whole_or_none(|serving| serving.replies.result(write).expect("it can be written"), status::DONE);
}

#[test]
fn an_error_counts_once_it_is_whole() {
    let error = TaskError::Init { message: "no".into() };
    is_whole_or_none(|serving| serving.fail(&error), status::INIT);
}

#[test]
fn padding_without_a_frame_is_no_reply() {
    let (rings, _memory) = Rings::create().expect("there is memory");
    let mut payload = Vec::new();
    // Four of this length fit before the end of the ring. The next one goes to its front, behind padding.
    let length = MAX_PAYLOAD - 1_000;
    for _ in 0..4 {
        assert_eq!(rings.write_reply([0, 0, 0], &vec![1; length]), Ok(Some(())));
        assert!(rings.take_reply(&mut payload).expect("nobody spoils it").is_some());
    }
    let mut place = rings.reserve_reply(length).expect("nobody spoils it").expect("there is room");
    assert!(rings.has_reply(), "the padding before it");
    assert!(rings.take_reply(&mut payload).expect("nobody spoils it").is_none());
    assert!(!rings.has_reply(), "a parent would not sleep");
    assert!(rings.append_result(&mut place, b"whole", length));
    assert_eq!(rings.take_open_reply(&mut payload), Ok(1));
    rings.publish_open_reply(&place, [0, 0, 0]);
    assert!(rings.take_reply(&mut payload).expect("nobody spoils it").is_some());
    assert_eq!(payload, b"whole");
}

#[test]
fn of_several_results_those_that_are_whole_count() {
    let mut payload = Vec::new();
    let (mut seen, mut published) = (0, false);
    let write = |n: u64| move |out: &mut Encoder<'_>| out.value(&(n, [n; 5]));
    let answer = |serving: &mut Serving<'_>| {
        for n in 1 << 40..(1 << 40) + 3_u64 {
            serving.replies.result(write(n)).expect("it can be written");
        }
        serving.replies.flush();
    };
    step_through(answer, |rings| {
        let mut count = rings.take_open_reply(&mut payload).expect("nobody spoils it");
        if let Some(words) = rings.take_reply(&mut payload).expect("nobody spoils it") {
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
