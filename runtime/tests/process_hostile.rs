//! Workers under an attacker's control: they overwrite all memory shared with the parent, and their socket. The parent
//! neither crashes, nor hangs, nor reads invalid data; every call ends with a value of its type or an error.
//!
//! The layout of the shared memory is documented in `ring.rs` and `frame_ring.rs` of `src/process/transport`, and the
//! format of a reply in `src/process/serve.rs` and `src/process/message.rs`.
#![cfg(all(target_os = "linux", not(fanfold_portable)))]

use std::error::Error;
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fanfold::{Bytes, Pool, TaskError, parallel};
use serde::{Deserialize, Serialize};

fanfold::process_tests!();

static ONE: Pool = Pool::process("one").threads(1);
static WORKERS: Pool = Pool::process("workers").threads(2);

/// Every call ends within this time under every attack, even on an overloaded machine.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Access to everything that a worker shares with its parent.
mod reach {
    use super::{AtomicU32, OnceLock, Ordering, fs};

    /// Bytes of one ring.
    const RING: usize = 1 << 18;
    /// Bytes of the shared segment: the counters, then the two rings.
    const RINGS: usize = 4_096 + 2 * RING;
    /// Offset of the count of bytes written to the ring of replies; the parent sleeps on this word.
    const WRITTEN: usize = 128;
    /// Offset of the count of bytes that the parent has read.
    const READ: usize = 192;
    /// Offset of the number of requests begun.
    const BEGUN: usize = 256;

    /// All mappings of shared memory, as address and length.
    pub(super) fn shared() -> Vec<(usize, usize)> {
        let maps = fs::read_to_string("/proc/self/maps").expect("it can be read");
        let ranges = maps.lines().filter(|line| line.contains("memfd:fanfold")).filter_map(|line| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).expect("an address"));
            Some((start, end - start))
        });
        ranges.collect()
    }

    fn rings() -> usize {
        static RINGS_AT: OnceLock<usize> = OnceLock::new();
        let find = || shared().into_iter().find(|(_, len)| *len == RINGS).expect("the rings are mapped").0;
        *RINGS_AT.get_or_init(find)
    }

    pub(super) fn word(offset: usize) -> &'static AtomicU32 {
        // SAFETY: the offset is aligned and within the rings, which stay mapped until the process ends.
        unsafe { &*std::ptr::with_exposed_provenance::<AtomicU32>(rings() + offset) }
    }

    /// The socket to the parent.
    pub(super) fn socket() -> i32 {
        static SOCKET: OnceLock<i32> = OnceLock::new();
        *SOCKET.get_or_init(|| {
            let is_socket = |fd: &i32| {
                fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
            };
            (3..1_000).find(is_socket).expect("the worker has a socket")
        })
    }

    /// Sends bytes on the socket with `copies` of a descriptor; whether there was room.
    pub(super) fn send(bytes: &[u8], descriptor: i32, copies: usize) -> bool {
        let numbers = vec![descriptor; copies];
        let size = u32::try_from(size_of_val(&numbers[..])).expect("it is small");
        let mut control = [0_u64; 256];
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: a zeroed message header is valid, and the buffer has room for one control header and 253 descriptors.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            if copies > 0 {
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(size) as _;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size) as _;
                std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), size as usize);
            }
            libc::sendmsg(socket(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) >= 0
        }
    }

    /// Posts a reply to the latest request: a number of results, a number of blocks, and the payload.
    pub(super) fn reply(count: u32, blocks: u32, payload: &[u8]) {
        let request = word(BEGUN).load(Ordering::Acquire).wrapping_sub(1);
        let len = u32::try_from(payload.len()).expect("it is short");
        let size = (16 + len).next_multiple_of(16);
        let written = word(WRITTEN).load(Ordering::Acquire);
        let to_end = u32::try_from(RING).expect("it is small") - written % u32::try_from(RING).expect("it is small");
        while written.wrapping_sub(word(READ).load(Ordering::Acquire)) + size + 16 > 1 << 18 {
            std::thread::yield_now();
        }
        if size > to_end {
            return pad(to_end);
        }
        let at = 4_096 + RING + written as usize % RING;
        for (index, value) in [len, count, request, blocks].into_iter().enumerate() {
            word(at + 4 * index).store(value, Ordering::Relaxed);
        }
        for (index, byte) in payload.iter().enumerate() {
            // SAFETY: `size` fits before the end of the ring, which stays mapped.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(rings() + at + 16 + index).write_volatile(*byte) };
        }
        word(WRITTEN).store(written.wrapping_add(size), Ordering::Release);
    }

    /// The payload of the first reply of this worker.
    pub(super) fn first_reply() -> Vec<u8> {
        let at = 4_096 + RING;
        let len = word(at).load(Ordering::Relaxed) as usize;
        // SAFETY: the first reply is within the ring, which stays mapped.
        let byte =
            |index| unsafe { std::ptr::with_exposed_provenance::<u8>(rings() + at + 16 + index).read_volatile() };
        (0..len).map(byte).collect()
    }

    /// Waits until the parent has read all replies.
    pub(super) fn wait_until_read() {
        while word(WRITTEN).load(Ordering::Acquire) != word(READ).load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    /// Posts padding that covers the rest of the ring of replies.
    pub(super) fn pad(to_end: u32) {
        let written = word(WRITTEN).load(Ordering::Acquire);
        word(4_096 + RING + written as usize % RING).store(u32::MAX, Ordering::Relaxed);
        word(WRITTEN).store(written.wrapping_add(to_end), Ordering::Release);
    }

    pub(super) fn to_end() -> u32 {
        let ring = u32::try_from(RING).expect("it is small");
        ring - word(WRITTEN).load(Ordering::Acquire) % ring
    }

    /// Seals that forbid every process to resize the memory.
    pub(super) const FIXED: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

    /// Creates a segment of this size with this text and these seals, and sends it.
    pub(super) fn send_segment(size: i64, text: &[u8], seals: libc::c_int) -> i32 {
        // The first word of a segment says that the reader owns it.
        let mut bytes = [0; 64].to_vec();
        bytes[..4].copy_from_slice(&1_u32.to_ne_bytes());
        bytes.extend_from_slice(text);
        // SAFETY: the name is a C string, and the bytes are alive during the calls.
        unsafe {
            let fd = libc::memfd_create(c"segment".as_ptr(), libc::MFD_ALLOW_SEALING);
            assert_eq!(libc::ftruncate(fd, size), 0);
            assert_eq!(libc::write(fd, bytes.as_ptr().cast(), bytes.len()), bytes.len().cast_signed());
            assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, seals), 0);
            assert!(send(b"s", fd, 1), "the parent reads");
            fd
        }
    }
}

/// What a worker does instead of returning its result.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Attack {
    None,
    /// No attack: posts the first reply again, by hand.
    Replayed,
    /// No attack: a text of 512 kB in a segment that the worker creates by hand.
    ValidBlock,
    /// An endless stream of replies without results.
    EmptyReplies,
    /// One reply with more results than there are calls.
    ManyResults,
    /// Padding that no frame follows.
    Padding,
    /// An endless stream of bytes on the socket.
    Bytes,
    /// An endless stream of descriptors that no reply announces.
    Descriptors,
    /// Some more descriptors than a message may have, together with a valid reply.
    FewDescriptors,
    /// A block of 2^38 bytes in a sparse segment of that size.
    HugeBlock,
    /// A block in a segment that another process may shrink.
    ShrinkingBlock,
    /// More elements than can be read in time, none of which came.
    Units,
    /// A text whose length field exceeds the address space.
    LongText,
}

/// An encoded `u64`: the tag of one with eight bytes, and these.
fn number(number: u64) -> Vec<u8> {
    [&[41][..], &number.to_le_bytes()].concat()
}

/// The encoded result of a function from its parts, after the byte of `Ok` where it is a `Result`.
fn result(is_result: bool, parts: &[&[u8]]) -> Vec<u8> {
    let ok = [1_u8];
    [&u16::MAX.to_le_bytes()[..], if is_result { &ok } else { &[] }, &parts.concat()].concat()
}

/// An encoded text of `len` bytes in the first segment that was sent.
fn block(is_result: bool, len: u64) -> Vec<u8> {
    // The lowest bit says that the bytes are in a block.
    let text = result(is_result, &[&number(len << 1 | 1)]);
    [&7_u64.to_ne_bytes()[..], &len.to_ne_bytes(), &text].concat()
}

/// Ends this worker once the parent has read its replies.
fn end_when_read() -> ! {
    reach::send(b"r", 0, 0);
    reach::wait_until_read();
    std::process::abort()
}

fn attack(what: Attack, is_result: bool) {
    match what {
        Attack::None => return,
        Attack::Replayed => {
            reach::reply(1, 0, &reach::first_reply());
            end_when_read();
        }
        Attack::ValidBlock => {
            reach::send_segment(1 << 20, &vec![b'x'; 1 << 19], reach::FIXED);
            reach::reply(1, 1, &block(is_result, 1 << 19));
            end_when_read();
        }
        Attack::EmptyReplies => loop {
            reach::reply(0, 0, &[]);
            reach::send(b"r", 0, 0);
        },
        Attack::ManyResults => reach::reply(u32::from(u16::MAX), 0, &result(is_result, &[&number(1 << 1), b"x"])),
        Attack::Padding => reach::pad(reach::to_end()),
        Attack::Bytes => loop {
            reach::send(&[b'r'; 4_096], 0, 0);
        },
        Attack::Descriptors => loop {
            reach::send(b"s", 0, 16);
        },
        Attack::FewDescriptors => {
            reach::send(b"s", 0, 3);
            return;
        }
        Attack::HugeBlock => {
            reach::send_segment(1 << 38, &[], reach::FIXED);
            reach::reply(1, 1, &block(is_result, (1 << 38) - 64));
        }
        Attack::ShrinkingBlock => {
            let fd = reach::send_segment(1 << 20, &vec![b'x'; 1 << 19], 0);
            reach::reply(1, 1, &block(is_result, 1 << 19));
            reach::send(b"r", 0, 0);
            // SAFETY: `ftruncate` takes only numbers.
            unsafe { libc::ftruncate(fd, 0) };
        }
        Attack::Units => {
            // The tag of a sequence, and a count of 2^56.
            reach::reply(1, 0, &result(is_result, &[&[10], &[0x80; 8], &[1]]));
            end_when_read();
        }
        Attack::LongText => {
            // The bytes follow in the message.
            reach::reply(1, 0, &result(is_result, &[&number(u64::MAX - 1)]));
            end_when_read();
        }
    }
    reach::send(b"r", 0, 0);
    loop {
        std::thread::park();
    }
}

#[parallel(kind = "process", pool = ONE, timeout = "1s")]
fn text(what: Attack) -> Result<String, TaskError> {
    attack(what, true);
    Ok("a text".into())
}

#[parallel(kind = "process", pool = ONE, timeout = "1s")]
fn units(what: Attack) -> Result<Vec<()>, TaskError> {
    attack(what, true);
    Ok(vec![(); 1_000])
}

#[parallel(kind = "process", pool = ONE)]
fn untimed(what: Attack) -> String {
    attack(what, false);
    "a text".into()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("it can be read").count()
}

/// The attacks differ from valid replies in one detail only, so that detail is the reason why they are refused.
#[test]
fn a_valid_reply_made_by_hand_is_accepted() {
    const BODY: &str = "FANFOLD_TEST_BODY";
    // In a process of its own, because the attacks of the other tests use the same workers.
    if std::env::var_os(BODY).is_none() {
        let test = "a_valid_reply_made_by_hand_is_accepted";
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program has a path"));
        let output = child.args([test, "--exact", "--nocapture"]).env(BODY, "yes").output();
        let output = output.expect("this program starts again");
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(text(Attack::None).expect("it is right"), "a text");
    assert_eq!(text(Attack::Replayed).expect("it is right"), "a text");
    assert_eq!(units(Attack::None).expect("another worker runs it").len(), 1_000);
    assert_eq!(units(Attack::Replayed).expect("it is right").len(), 1_000);
    assert_eq!(text(Attack::ValidBlock).expect("it is right"), "x".repeat(1 << 19));
    assert_eq!(untimed(Attack::ValidBlock), "x".repeat(1 << 19));
}

#[test]
fn every_attack_ends_with_its_timeout_or_its_worker() {
    assert_eq!(untimed(Attack::None), "a text");
    let before = open_files();
    let attacks = [
        Attack::EmptyReplies,
        Attack::ManyResults,
        Attack::Padding,
        Attack::Bytes,
        Attack::Descriptors,
        Attack::HugeBlock,
        Attack::ShrinkingBlock,
        Attack::Units,
        Attack::LongText,
    ];
    for what in attacks {
        let begun = Instant::now();
        let ended = text(what);
        assert!(ended.is_err(), "{what:?}: {ended:?}");
        assert!(begun.elapsed() < CALL_LIMIT, "{what:?}: {ended:?}");
        let begun = Instant::now();
        assert!(units(what).is_err(), "{what:?}");
        assert!(begun.elapsed() < CALL_LIMIT, "{what:?}");
        assert_eq!(untimed(Attack::None), "a text", "{what:?}: another worker runs it");
        // A thread of its own closes them.
        while open_files() >= before + 50 {
            assert!(begun.elapsed() < CALL_LIMIT, "{what:?}: open files stay");
            std::thread::yield_now();
        }
    }
}

/// Attacks that the content of a reply reveals end without a timeout.
#[test]
fn an_invalid_reply_ends_a_call_without_a_timeout() {
    let attacks = [Attack::EmptyReplies, Attack::ManyResults, Attack::Descriptors, Attack::HugeBlock];
    for what in attacks {
        // As a direct call, and in a batch with other calls.
        let alone = std::panic::catch_unwind(|| untimed(what));
        assert!(alone.is_err(), "{what:?}");
        let task = untimed::submit(what);
        assert!(task.wait(CALL_LIMIT), "{what:?}");
        let error = task.join().expect_err("it is no text");
        assert!(matches!(error, TaskError::WorkerDied { .. } | TaskError::Wire { .. }), "{what:?}: {error}");
        assert_eq!(untimed(Attack::None), "a text", "{what:?}");
    }
}

#[test]
fn unexpected_descriptors_are_closed() {
    assert_eq!(untimed(Attack::None), "a text");
    let before = open_files();
    for _ in 0..500 {
        // The results are valid. The extra descriptors are found when the socket is read; then the worker is replaced.
        let _ = text(Attack::FewDescriptors);
    }
    assert!(open_files() < before + 350, "{before} before, {} now", open_files());
}

/// A pseudo-random sequence that is equal in every run with the same seed.
struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }
}

/// One in so many calls overwrites shared memory at random, during that call and the next ones.
const SCRIBBLE_EVERY: usize = 40;

/// Writes at random to everything shared with the parent for some milliseconds; `n` seeds the sequence.
fn scribble(n: u64) {
    let mut random = Random::new(n);
    if random.below(SCRIBBLE_EVERY) != 0 {
        return;
    }
    let mut shared = reach::shared();
    let end = Instant::now() + Duration::from_millis(1 + random.next() % 4);
    std::thread::spawn(move || {
        while Instant::now() < end {
            match random.below(200) {
                // Looks for new segments.
                0 => shared = reach::shared(),
                1 => {
                    let bytes: Vec<u8> = (0..random.below(100)).map(|_| random.next().to_ne_bytes()[0]).collect();
                    reach::send(&bytes, 0, 0);
                }
                2 => {
                    reach::send(b"s", random.below(8).try_into().unwrap_or(0), 1 + random.below(30));
                }
                _ => {
                    let (start, len) = shared[random.below(shared.len())];
                    // Most writes go to the front of a mapping, where the counters and the first messages are.
                    let most = [64, 640, 8_192, len][random.below(4)].min(len);
                    let place = start + random.below(most / 8) * 8;
                    let bits = random.next();
                    let word = [bits, bits >> 32, bits >> 56, u64::MAX, 0, 16 * (bits >> 50)][random.below(6)];
                    // SAFETY: deliberately unsound: the mapping may be gone, and a fault ends only this worker.
                    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(place).write_volatile(word) };
                    if random.below(20) == 0 {
                        std::thread::yield_now();
                    }
                }
            }
        }
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    texts: Vec<String>,
    numbers: std::collections::BTreeMap<u64, Option<f64>>,
    letters: Vec<char>,
}

/// Mostly short texts, and some that are sent as blocks.
fn length(n: u64) -> usize {
    if n.is_multiple_of(3) { 40_000 + usize::try_from(n % 7).unwrap_or(0) * 20_000 } else { 50 }
}

#[parallel(kind = "process", pool = WORKERS, timeout = "400ms")]
fn give_text(n: u64) -> Result<String, TaskError> {
    scribble(n);
    Ok("ä".repeat(length(n)))
}

#[parallel(kind = "process", pool = WORKERS, timeout = "400ms")]
fn give_bytes(n: u64, bytes: Bytes) -> Result<Bytes, TaskError> {
    scribble(n);
    Ok(if n.is_multiple_of(2) { bytes } else { Bytes::from(vec![7; length(n)]) })
}

#[parallel(kind = "process", pool = WORKERS, timeout = "400ms")]
fn give_record(n: u64) -> Result<Record, Box<dyn Error + Send + Sync>> {
    scribble(n);
    if n.is_multiple_of(10) {
        return Err(format!("{n} is refused").into());
    }
    Ok(Record {
        name: "ö".repeat(length(n)),
        texts: vec!["ü".repeat(20); length(n) / 200],
        numbers: (0..20).map(|key| (key, (key % 2 == 0).then_some(1.5))).collect(),
        letters: vec!['é'; 30],
    })
}

#[parallel(kind = "process", pool = WORKERS)]
fn give_number(n: u64) -> u64 {
    scribble(n);
    n
}

#[parallel(kind = "process", pool = WORKERS, timeout = "400ms")]
fn give_receiver(n: u64) -> Result<Vec<fanfold::Receiver<String>>, TaskError> {
    scribble(n);
    let ends = (0..3).map(|_| {
        let (sender, receiver) = fanfold::channel::<String>();
        sender.send("ß".repeat(length(n))).expect("there is room");
        receiver
    });
    Ok(ends.collect())
}

fn is_text(text: &str) {
    // Hidden from the compiler, which may assume that a `str` is UTF-8.
    let bytes = std::hint::black_box(text.as_bytes());
    assert!(std::str::from_utf8(bytes).is_ok(), "a text is not UTF-8");
}

fn is_stable(bytes: &Bytes) {
    let copy = bytes.to_vec();
    std::thread::yield_now();
    assert!(**bytes == *copy, "a `&[u8]` has changed");
}

/// Runs one round of calls, and counts the values and the errors.
fn round(n: u64) -> [usize; 2] {
    let mut ended = [0; 2];
    let mut count = |is_value: bool| ended[usize::from(!is_value)] += 1;
    // Submitted together, so that several are sent in one batch.
    let numbers: Vec<_> = (n..n + 30).map(give_number::submit).collect();
    let text = give_text::submit(n + 30);
    let argument = Bytes::from(vec![3; length(n)]);
    let bytes = give_bytes::submit(n + 31, argument);
    let record = give_record::submit(n + 32);
    let receivers = give_receiver::submit(n + 33);
    for task in numbers {
        if !task.wait(Duration::from_secs(1)) {
            // A lost request or reply cannot be detected; the caller may cancel the task.
            task.cancel();
            assert!(task.wait(CALL_LIMIT), "a task that was cancelled ends");
        }
        count(task.join().is_ok());
    }
    let text = text.join();
    text.iter().flatten().for_each(|text| is_text(text));
    count(matches!(text, Ok(Ok(_))));
    let bytes = bytes.join();
    bytes.iter().flatten().for_each(is_stable);
    count(matches!(bytes, Ok(Ok(_))));
    let record = record.join();
    if let Ok(Ok(record)) = &record {
        record.texts.iter().chain([&record.name]).for_each(|text| is_text(text));
        assert!(record.letters.iter().all(|letter| char::from_u32(u32::from(*letter)).is_some()));
    }
    if let Ok(Err(error)) = &record {
        is_text(&error.to_string());
    }
    count(matches!(record, Ok(Ok(_))));
    let receivers = receivers.join();
    for receiver in receivers.iter().flatten().flatten() {
        if let Ok(Some(text)) = receiver.try_recv() {
            is_text(&text);
        }
    }
    count(matches!(receivers, Ok(Ok(_))));
    ended
}

#[test]
fn ten_thousand_calls_end_while_workers_overwrite_shared_memory() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let calls = number("FANFOLD_TEST_CALLS").unwrap_or(10_000);
    let seed = number("FANFOLD_TEST_SEED").unwrap_or(1);
    let before = open_files();
    let mut ended = [0; 2];
    for n in (0..calls).step_by(34) {
        let [values, errors] = round(seed.wrapping_mul(1_000_003).wrapping_add(n));
        ended = [ended[0] + values, ended[1] + errors];
    }
    let [values, errors] = ended;
    assert!(values > 0 && errors > 0, "seed {seed}: {values} values, {errors} errors");
    assert!(open_files() < before + 400, "open files stay");
    println!("seed {seed}: {values} values, {errors} errors");
    assert_eq!(give_number::serial(7), 7);
}
