//! What a compromised worker may send on purpose: each kind is refused, bounded, or copied before it is checked.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use serde_json::Value;

use crate::process::codec::direct::Bytes;
use crate::process::codec::{
    Attachment, CodecError, Decoder, Direct, Encoder, Wire, read_message, read_value, wire, write_value,
};
use crate::process::message::{Connection, prepend_attachment_table};
use crate::process::os::{self, Handle, Mapping, Socket};
use crate::process::socket::{ChannelSocket, MessageBytes};
use crate::process::transport::ring::Rings;

/// A worker's and a parent's side of a connection, in one process.
pub(super) fn sides() -> (Connection, Connection) {
    let (one, other) = Socket::pair().expect("there are sockets");
    (Connection::new(one), Connection::new(other))
}

type Write<'a> = dyn Fn(&mut Encoder<'_>) -> Result<(), CodecError> + 'a;

/// Sends what `write` writes; returns the attachment word and the payload of the frame.
fn sent(from: &mut Connection, write: &Write<'_>) -> (u32, Vec<u8>) {
    let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
    write(&mut Encoder::new(&mut bytes, &mut attachments, Some(&mut from.outbox))).expect("it crosses");
    let attachment_word = prepend_attachment_table(&mut bytes, &mut attachments, &mut from.outbox).expect("it fits");
    from.send_descriptors(&attachments).expect("the parent is there");
    (attachment_word, bytes)
}

/// Creates memory of this size, with these flags and seals.
fn memory(flags: libc::c_uint, size: i64, seals: libc::c_int) -> io::Result<Handle> {
    // SAFETY: the name is a static C string.
    let fd = unsafe { libc::memfd_create(c"hostile".as_ptr(), flags | libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `memfd_create` succeeded, so `fd` is a new open descriptor that nothing else owns.
    let fd = unsafe { Handle::from_raw_fd(fd) };
    // SAFETY: the calls take numbers; the descriptor is open.
    let done = unsafe {
        libc::ftruncate(fd.as_raw_fd(), size) == 0 && libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) == 0
    };
    if done { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// The number of descriptors of this process that refer to the file of `of`.
fn copies(of: &Handle) -> usize {
    let inode = |fd: RawFd| {
        // SAFETY: an all-zero `stat` is a valid value and a valid place for the answer.
        unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            (libc::fstat(fd, &raw mut status) == 0).then_some((status.st_dev, status.st_ino))
        }
    };
    let wanted = inode(of.as_raw_fd());
    let open = std::fs::read_dir("/proc/self/fd").expect("it can be read").flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| inode(*fd) == wanted).count()
}

/// Sends copies of one descriptor with a message; the kernel allows 253.
pub(super) fn send_copies(socket: &impl AsRawFd, bytes: &[u8], fd: &Handle, count: usize) -> bool {
    send_copies_with(0, socket, bytes, fd, count)
}

/// Does the same as [`send_copies`], with flags for `sendmsg`.
pub(super) fn send_copies_with(
    flags: libc::c_int,
    socket: &impl AsRawFd,
    bytes: &[u8],
    fd: &Handle,
    count: usize,
) -> bool {
    let numbers = vec![fd.as_raw_fd(); count];
    let size = u32::try_from(size_of_val(&numbers[..])).expect("it is small");
    let mut control = [0_u64; 256];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero `msghdr` is a valid value. The control buffer has room for one header and 253 descriptors,
    // and all that the message points to lives during the call.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), size as usize);
        let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) >= 0
    }
}

const FIXED: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

#[test]
fn memory_that_may_fault_is_not_mapped() {
    let page = 1 << 12;
    assert!(Mapping::received(&memory(0, page, FIXED).expect("memory"), 1 << 20).is_ok());
    let refused = [
        ("it may shrink", memory(0, page, 0)),
        ("it may shrink", memory(0, page, libc::F_SEAL_GROW)),
        ("it is empty", memory(0, 0, FIXED)),
        ("more than was written", memory(0, 1 << 38, FIXED)),
        ("more than was written", memory(0, i64::MAX, FIXED)),
        ("a file of a disk", tempfile::tempfile().map(Handle::from)),
        ("a device", File::open("/dev/zero").map(Handle::from)),
        ("a socket", Socket::pair().map(|(one, _)| one.into())),
    ];
    for (why, fd) in refused {
        assert!(Mapping::received(&fd.expect("it can be made"), 1 << 20).is_err(), "{why}");
    }
    // A machine may have no huge pages configured.
    if let Ok(huge) = memory(libc::MFD_HUGETLB, 2 << 20, FIXED) {
        assert!(Mapping::received(&huge, 4 << 20).is_err());
    }
}

#[test]
fn received_bytes_say_whether_they_may_change() {
    let (mut worker, mut parent) = sides();
    let bytes = vec![1; 100_000];
    let (attachment_word, payload) = sent(&mut worker, &|out| out.bytes(&[&bytes]));
    let mut message = parent.open(attachment_word, &payload).expect("it was sent");
    let crate::process::codec::DecodedBytes::Segment(view) = message.decoder().bytes().expect("it was sent") else {
        panic!("it is large")
    };
    let copy = view.copy(10..50_000).expect("there is memory");
    worker.outbox.overwrite_all(2);
    assert!(view.may_change() && view.bytes() == vec![2; 100_000]);
    assert!(!copy.may_change() && copy.bytes() == vec![1; 49_990]);
    assert!(copy.bytes().as_ptr().addr().is_multiple_of(64));
    let private = view.into_private().expect("there is memory");
    worker.outbox.overwrite_all(3);
    assert!(!private.may_change() && private.bytes() == vec![2; 100_000]);
}

#[test]
fn read_values_do_not_change_when_the_worker_overwrites_its_memory() {
    let (mut worker, mut parent) = sides();
    let text = "a text of some length ".repeat(10_000);
    // `Bytes` as a whole result, in a segment of its own.
    let (attachment_word, payload) = sent(&mut worker, &|out| Direct::write(&Bytes::from(text.as_bytes()), out));
    let mut message = parent.open(attachment_word, &payload).expect("it was sent");
    let read = <Bytes as Direct>::read(&mut message.decoder()).expect("bytes");
    worker.outbox.overwrite_all(0xff);
    assert!(*read == *text.as_bytes(), "a `&[u8]` has changed");
    // Within a serde message, which is so long that it is a segment itself: changed after it was opened and before it
    // is decoded.
    let record = (7_u32, vec![text.clone(), "short".into()]);
    let (attachment_word, payload) = sent(&mut worker, &|out| Wire::write(&record, out));
    assert!(payload.len() < 100, "it is a block");
    let mut message = parent.open(attachment_word, &payload).expect("it was sent");
    worker.outbox.overwrite_all(0xff);
    let read = <(u32, Vec<String>) as Wire>::read(&mut message.decoder()).expect("what was sent");
    assert!(read == record);
}

#[test]
fn a_block_longer_than_its_memory_is_refused() {
    let described = |segment: u64, len: u64| [segment.to_ne_bytes(), len.to_ne_bytes()].concat();
    let (worker, mut parent) = sides();
    let sparse = memory(0, 1 << 38, FIXED).expect("memory");
    assert!(send_copies(&*worker.socket, b"s", &sparse, 1));
    let error = parent.open(1, &described(0, (1 << 38) - 64)).err().expect("more than was written");
    assert!(error.to_string().contains("larger than what was written"), "{error}");
    let (mut worker, mut parent) = sides();
    let (_, _) = sent(&mut worker, &|out| out.bytes(&[&vec![1; 100_000]]));
    assert!(parent.open(1, &described(0, 1 << 38)).is_err());
    assert!(parent.open(1, &described(0, u64::MAX)).is_err());
    // More attachments than a message may have, and the largest number.
    let (_worker, mut parent) = sides();
    assert!(parent.open(4_000, &described(u64::MAX, 0).repeat(4_000)).is_err());
    assert!(parent.open(u32::MAX, &[]).is_err());
}

#[test]
fn the_number_of_segments_is_bounded() {
    let (worker, mut parent) = sides();
    let small = memory(0, 1 << 12, FIXED).expect("memory");
    let mut known = 0;
    let refused = (0..10_000_u64).find(|number| {
        assert!(send_copies(&*worker.socket, b"s", &small, 1), "the parent reads");
        let described = [number.to_ne_bytes(), 1_u64.to_ne_bytes()].concat();
        // No segment is lent, so `open` fails; but each one is mapped first.
        let error = parent.open(1, &described).err().map(|error| error.to_string()).unwrap_or_default();
        known += 1;
        error.contains("more segments")
    });
    assert!(refused.is_some_and(|count| (300..2_000).contains(&count)), "{refused:?} of {known}");
    assert!(copies(&small) == 1, "descriptors stay open");
}

#[test]
fn an_outbox_is_full_until_a_segment_is_released() {
    let (mut parent, _worker) = sides();
    let refused = (0..2_000).find(|_| parent.outbox.send(&[&[1]]).is_err());
    assert!(refused.is_some() && parent.outbox.is_full() && parent.outbox.should_wait());
    parent.outbox.recall(7);
    assert!(!parent.outbox.should_wait());
    assert!(parent.outbox.send(&[&[1]]).is_ok(), "one was given back");
}

#[test]
fn unannounced_descriptors_are_closed() {
    let marked = memory(0, 1 << 12, 0).expect("memory");
    // More descriptors than a message may have: none is kept.
    for count in [17, 28, 29, 100, 253] {
        let (worker, mut parent) = sides();
        assert!(send_copies(&*worker.socket, b"s", &marked, count));
        assert!(parent.drain_socket().is_err(), "{count}");
        drop(parent);
        assert_eq!(copies(&marked), 1, "{count}");
    }
    // As many descriptors as a message may have, without end.
    let (worker, mut parent) = sides();
    let refused = (0..10_000).find(|_| {
        assert!(send_copies(&*worker.socket, b"s", &marked, 16));
        assert!(copies(&marked) < 400, "they are parked");
        parent.drain_socket().is_err()
    });
    assert!(refused.is_some());
    drop(parent);
    assert_eq!(copies(&marked), 1);
    // A few unannounced descriptors behind those of a frame.
    let (mut worker, mut parent) = sides();
    let (attachment_word, payload) = sent(&mut worker, &|out| out.descriptor(marked.try_clone().expect("one more")));
    assert!(send_copies(&*worker.socket, b"s", &marked, 3));
    drop(parent.open(attachment_word, &payload).expect("it was sent"));
    parent.drain_socket().expect("they are few");
    assert!(parent.has_unclaimed());
    drop((worker, parent));
    assert_eq!(copies(&marked), 1);
}

#[test]
fn unread_attachments_are_closed_with_their_message() {
    let (mut worker, mut parent) = sides();
    let marked = memory(0, 1 << 12, 0).expect("memory");
    let (attachment_word, payload) =
        sent(&mut worker, &|out| (0..200).try_for_each(|_| out.descriptor(marked.try_clone().expect("one more"))));
    let mut message = parent.open(attachment_word, &payload).expect("as many as there may be");
    assert!(!parent.has_unclaimed() && message.has_descriptors());
    // The value takes no descriptors.
    let _ = <Vec<u8> as Direct>::read(&mut message.decoder());
    drop(message);
    assert_eq!(copies(&marked), 1, "they were closed with the message");
}

#[test]
fn a_parent_does_not_wait_for_space_in_the_socket() {
    let (mut parent, _worker) = sides();
    let marked = memory(0, 1 << 12, 0).expect("memory");
    let refused = (0..100_000).find(|_| {
        let attachments = [Attachment::Descriptor(marked.try_clone().expect("one more"))];
        parent.send_descriptors(&attachments).is_err()
    });
    assert!(refused.is_some());
}

#[test]
fn endless_bytes_do_not_keep_the_parent_reading() {
    let (worker, mut parent) = sides();
    while os::send_bytes(os::AsHandle::as_handle(&*worker.socket), &[&[0; 4_096]], &[], false).is_ok() {}
    assert!(parent.drain_socket().expect("they are only bytes"));
    let mut left: libc::c_int = 0;
    // SAFETY: the socket is open, and `left` is a valid place for the answer.
    unsafe { libc::ioctl(parent.socket.as_raw_fd(), libc::FIONREAD, &raw mut left) };
    assert!(left > 0, "it reads a part of them at a time");
}

#[test]
fn the_number_of_parts_is_bounded() {
    fn written<T: Wire>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_value(value, &mut bytes).expect("it crosses");
        bytes
    }
    let units = written(&vec![(); 3_000_000]);
    assert_eq!(read_value::<Vec<()>>(&units).expect("each has a byte").len(), 3_000_000);
    assert_eq!(read_value::<Vec<u8>>(&written(&vec![7_u8; 3 << 20])).expect("bytes").len(), 3 << 20);
    let nested = vec![vec![vec![Some(()); 10]; 100]; 1_000];
    assert!(read_value::<Vec<Vec<Vec<Option<()>>>>>(&written(&nested)).expect("options have bytes") == nested);
    // The tag of a sequence, and a count that no bytes follow.
    let endless = |count: usize| [&units[..1], &count.to_le_bytes()].concat();
    assert!(units.starts_with(&endless(3_000_000)), "it is what `written` makes");
    for count in [1, 1 << 21, usize::MAX / 2, usize::MAX] {
        assert!(read_value::<Vec<()>>(&endless(count)).is_err());
        assert!(read_value::<Vec<std::marker::PhantomData<u64>>>(&endless(count)).is_err());
        assert!(read_value::<std::collections::LinkedList<((), ())>>(&endless(count)).is_err());
        assert!(read_value::<Value>(&endless(count)).is_err());
    }
}

/// An enum whose variants without content are read by name, after reading in order has failed.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "content")]
enum TaggedBeside {
    A,
    B(u8),
}

#[test]
fn parts_without_names_are_not_read_by_name() {
    #[derive(serde::Serialize, serde::Deserialize)]
    enum Tag {
        A,
    }
    let mut bytes = Vec::new();
    write_value(&(Tag::A,), &mut bytes).expect("it crosses");
    read_value::<TaggedBeside>(&bytes).expect_err("its fields have no names");
}

#[test]
fn an_error_with_a_million_causes_does_not_overflow_the_stack() {
    let said = vec![String::new(); 1_000_000];
    let mut bytes = vec![0];
    Wire::write(&said, &mut Encoder::new(&mut bytes, &mut Vec::new(), None)).expect("it crosses");
    let read =
        <Box<dyn Error + Send + Sync> as Direct>::read(&mut crate::process::codec::Decoder::new(&bytes, Vec::new()));
    let mut cause: Option<&dyn Error> = Some(&*read.expect("an error"));
    let mut depth = 0;
    while let Some(error) = cause {
        (cause, depth) = (error.source(), depth + 1);
    }
    assert!((10..1_000).contains(&depth), "{depth}");
}

#[derive(serde::Serialize, serde::Deserialize)]
enum List {
    ChannelSocket,
    Item(Box<List>),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Options(Option<Box<Options>>);

#[derive(serde::Serialize, serde::Deserialize)]
struct Tree(Vec<Tree>);

/// Read into a copy by serde, and from there once more.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Untagged {
    Leaf(u8),
    Node { inner: Vec<Untagged> },
}

#[test]
fn reading_deeply_nested_values_does_not_overflow_the_stack() {
    /// The bytes of nested values: of the outermost level, of one more level, and of the innermost one.
    fn levels<T: Wire>(nested: fn(usize) -> T) -> impl Fn(usize) -> Vec<u8> {
        let [end, one, two] = [0, 1, 2].map(|depth| {
            let mut bytes = Vec::new();
            write_value(&nested(depth), &mut bytes).expect("it crosses");
            bytes
        });
        let (first, end) = one.split_at(one.len() - end.len());
        let level = two[first.len()..two.len() - end.len()].to_vec();
        let (first, end) = (first.to_vec(), end.to_vec());
        move |depth| [&first[..], &level.repeat(depth - 1), &end].concat()
    }
    let list = levels(|depth| (0..depth).fold(List::ChannelSocket, |list, _| List::Item(Box::new(list))));
    let option = levels(|depth| (0..depth).fold(Options(None), |options, _| Options(Some(Box::new(options)))));
    let tree = levels(|depth| (0..depth).fold(Tree(Vec::new()), |tree, _| Tree(vec![tree])));
    let value = levels(|depth| (0..depth).fold(Value::Array(Vec::new()), |value, _| Value::Array(vec![value])));
    let untagged = levels(|depth| (0..depth).fold(Untagged::Leaf(7), |tree, _| Untagged::Node { inner: vec![tree] }));
    for stack in [1 << 16, 1 << 18, 2 << 20] {
        let read = || {
            for depth in [8, 100_000, 3_000_000] {
                let errors = [
                    read_value::<List>(&list(depth)).err(),
                    read_value::<Options>(&option(depth)).err(),
                    read_value::<Tree>(&tree(depth)).err(),
                    read_value::<Value>(&value(depth)).err(),
                ];
                for error in errors {
                    let told = error.is_some_and(|error| error.to_string().contains("too deep"));
                    assert_eq!(told, depth > 8, "{depth} in {stack}");
                }
            }
            // Depths at which the copy fits the stack, and reading from it might not.
            for depth in (20..1_000).step_by(20) {
                if let Err(error) = read_value::<Untagged>(&untagged(depth)) {
                    assert!(error.to_string().contains("too deep"), "{error}");
                    assert!(depth > 100 || stack < 2 << 20, "{depth}");
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, read);
            thread.expect("there is a thread").join().expect("no overflow");
        });
    }
}

#[test]
fn writing_deeply_nested_values_does_not_overflow_the_stack() {
    let write = || {
        for depth in [10, 100_000, 1_000_000] {
            let list = (0..depth).fold(List::ChannelSocket, |list, _| List::Item(Box::new(list)));
            let options = (0..depth).fold(Options(None), |options, _| Options(Some(Box::new(options))));
            let tree = (0..depth).fold(Tree(Vec::new()), |tree, _| Tree(vec![tree]));
            let mut bytes = Vec::new();
            let written =
                [write_value(&list, &mut bytes), write_value(&options, &mut bytes), write_value(&tree, &mut bytes)];
            for written in written {
                let told = written.is_err_and(|error| error.to_string().contains("stack of the thread that writes it"));
                assert_eq!(told, depth > 10, "{depth}");
            }
            // Their destructors are recursive and would overflow the stack.
            std::mem::forget((list, options, tree));
        }
    };
    for stack in [1 << 16, 1 << 18, 2 << 20] {
        let thread = std::thread::Builder::new().stack_size(stack).spawn(write);
        thread.expect("there is a thread").join().expect("no overflow");
    }
}

/// A value without bytes and descriptors.
struct Unread;

impl Direct for Unread {
    fn write(&self, _: &mut Encoder<'_>) -> Result<(), CodecError> {
        Ok(())
    }

    fn read(_: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}
wire!(Unread);

#[test]
fn a_channel_refuses_memory_that_is_not_sealed() {
    let (from, to) = ChannelSocket::pair().expect("there are sockets");
    let socket = from.try_clone().expect("one more");
    let large = vec![5; 1 << 20];
    from.send(&large, &[], false).expect("there is room");
    let message = to.receive(false).expect("it was sent").expect("it is open");
    assert!(matches!(message.contents, MessageBytes::Sealed(_)) && message.bytes() == large);
    let sealed = os::create_sealed_memory(&large).expect("memory");
    let writable = memory(0, 1 << 20, FIXED).expect("memory");
    let sparse = memory(0, 1 << 38, FIXED & !libc::F_SEAL_SEAL | libc::F_SEAL_WRITE).expect("memory");
    let refused: [(&[u8], &Handle, usize); 6] = [
        (&[1], &writable, 1),
        (&[1], &sparse, 1),
        (&[1], &sealed, 2),
        (&[1], &sealed, 40),
        (&[0], &sealed, 1),
        (&[2], &sealed, 1),
    ];
    for (bytes, fd, count) in refused {
        assert!(send_copies(&*socket.0, bytes, fd, count));
        // Descriptors that no part of the value takes are refused with it.
        let read = to.receive(false).map_err(CodecError::new).and_then(|message| {
            let message = message.expect("it is open");
            read_message::<Unread>(&[], message.descriptors)
        });
        assert!(read.is_err(), "{bytes:?} with {count}");
        assert_eq!(copies(fd), 1);
    }
    os::send_bytes(os::AsHandle::as_handle(&*socket.0), &[&[1]], &[], false).expect("there is room");
    assert!(to.receive(false).is_err(), "its memory did not come");
    from.send(&[1, 2], &[], false).expect("there is room");
    assert_eq!(to.receive(false).expect("the channel goes on").expect("it is open").bytes(), [1, 2]);
}

#[test]
fn endless_padding_is_refused() {
    let (parent, memory) = Rings::create().expect("there is memory");
    let worker = Mapping::new(&memory).expect("it is ours");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: the index is that of a word within the mapping, which is aligned to a page. The parent relies on
            // no value in it.
            let word =
                |offset: usize| unsafe { worker.start().add(offset).cast::<std::sync::atomic::AtomicU32>().as_ref() };
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // The whole ring of replies is one padding frame, and so is the next one.
                word(4_096 + (1 << 18)).store(u32::MAX, std::sync::atomic::Ordering::Relaxed);
                for ahead in [1 << 18, 2 << 18, 3 << 18] {
                    word(128).store(ahead, std::sync::atomic::Ordering::Release);
                }
            }
        });
        let mut payload = Vec::new();
        for _ in 0..10_000 {
            let _ = parent.take_reply(&mut payload);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
