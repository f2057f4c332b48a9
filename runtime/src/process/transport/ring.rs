//! Two rings of frames in memory that the parent and one worker share: requests one way, replies the other.
//!
//! A frame is a header of four words (its length, and three of its users') and a payload. Positions count bytes and
//! wrap around; a frame never does: where it would, a frame of padding comes first.
//!
//! # Who runs a request
//!
//! The worker takes requests in order, and says so before it looks at one: it moves the *cursor*, the number of
//! requests begun, from n to n + 1 by compare-and-swap. So when it dies the parent knows which request died with it,
//! and can take the others back while it lives: [`Shared::take_back`] marks the cursor as revoked, cuts the ring off
//! behind the last request that was begun, and gives the cursor a new generation. A worker that had seen the old end
//! of the ring fails to move the old cursor, and looks again.
//!
//! # What survives a worker
//!
//! A reply of plain results that is still being written is *open*: one word says how many results of it are whole, and
//! how long they are. The memory outlives the process, so the results that a worker had finished when it died are not
//! lost. Every other reply, with blocks or of an error, is never open: it counts once it is published, as a whole.
//!
//! The parent trusts nothing that it reads here: positions and lengths are checked, and payloads copied before use.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::process::os::{self, Mapping, OwnedFd};

/// Bytes in a ring.
const RING: u32 = 1 << 18;
/// The longest payload: four frames fit whatever the padding, and the open reply's word has 16 bits for it.
pub(crate) const LARGEST: usize = (RING / 4) as usize - HEADER as usize;
const HEADER: u32 = 16;
/// In the place of a length: the rest of the ring, up to its end, is empty.
const PADDING: u32 = u32::MAX;
/// Where the rings begin: behind the counters.
const FIRST: usize = 4096;

/// The parent is taking requests back.
const REVOKED: u64 = 1 << 32;
const GENERATION: u64 = 1 << 33;

/// One word alone on its cache line.
#[repr(C, align(64))]
pub(crate) struct Word<T>(pub(crate) T);

/// The counters. Only atomics: both processes use them at once.
#[repr(C)]
pub(crate) struct Counters {
    requests: Ends,
    replies: Ends,
    /// The number of requests begun, with the generation above it.
    cursor: Word<AtomicU64>,
    /// Position, count and length of the open reply.
    open: Word<AtomicU64>,
    /// The worker sleeps on the first, and says why in the second.
    pub(crate) bell: Word<AtomicU32>,
    pub(crate) worker_sleeps: Word<AtomicU32>,
    /// Whether the parent sleeps, and how it is woken.
    pub(crate) parent_sleeps: Word<AtomicU32>,
    /// What the parent asks for beside requests.
    pub(crate) orders: Word<AtomicU32>,
}

/// How far a ring is written and read.
#[repr(C)]
pub(crate) struct Ends {
    written: Word<AtomicU32>,
    read: Word<AtomicU32>,
}

/// The memory does not hold what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The three words of a frame that are its users'.
pub(crate) type Words = [u32; 3];

/// The memory of a parent and one worker.
pub(crate) struct Shared(Mapping);

/// A frame that waits to be read.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) words: Words,
    /// Where its payload begins in the ring.
    at: u32,
    len: u32,
    /// The position behind it.
    end: u32,
    /// A request's number, modulo 2^32 as the cursor counts.
    pub(crate) number: u32,
}

impl Shared {
    /// New memory, and the descriptor that lets a worker open it.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = os::memory(FIRST + 2 * RING as usize)?;
        Ok((Self(Mapping::new(&fd)?), fd))
    }

    /// The memory that the parent made.
    pub(crate) fn open(fd: &OwnedFd) -> io::Result<Self> {
        let mapping = Mapping::new(fd)?;
        if mapping.len() != FIRST + 2 * RING as usize {
            return Err(io::Error::other("the shared memory is of another build"));
        }
        Ok(Self(mapping))
    }

    pub(crate) fn counters(&self) -> &Counters {
        const { assert!(size_of::<Counters>() <= FIRST) };
        // SAFETY: mapped as long as `self` is, aligned to a page, and all zeros, which is a valid state, or what the
        // other process made of it: any bits are valid atomics.
        unsafe { self.0.start().cast().as_ref() }
    }

    fn requests(&self) -> Ring<'_> {
        self.ring(&self.counters().requests, FIRST)
    }

    fn replies(&self) -> Ring<'_> {
        self.ring(&self.counters().replies, FIRST + RING as usize)
    }

    fn ring<'a>(&'a self, ends: &'a Ends, offset: usize) -> Ring<'a> {
        // SAFETY: `create` and `open` see to it that the mapping holds both rings.
        let bytes = unsafe { self.0.start().add(offset) };
        Ring { ends, bytes }
    }

    /// Parent: writes a request; `None` while there is no room, else the position behind it.
    pub(crate) fn post(&self, words: Words, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        self.requests().write(words, payload)
    }

    /// Parent: how many requests the worker has begun, modulo 2^32.
    pub(crate) fn begun(&self) -> u32 {
        number(self.counters().cursor.0.load(Ordering::Acquire))
    }

    /// Parent: takes back all requests that were not begun; gives how many were. `ends` gives the position behind the
    /// request of that number.
    pub(crate) fn take_back(&self, end_of: impl FnOnce(u32) -> u32) -> u32 {
        let counters = self.counters();
        let before = counters.cursor.0.fetch_or(REVOKED, Ordering::AcqRel);
        let begun = number(before);
        counters.requests.written.0.store(end_of(begun), Ordering::Release);
        counters.cursor.0.store((before & !REVOKED).wrapping_add(GENERATION), Ordering::Release);
        begun
    }

    /// Parent: takes the next reply. There may be none though one waits, where the worker has passed the end of the ring;
    /// then the next one that waits is a reply.
    pub(crate) fn take_reply(&self, payload: &mut Vec<u8>) -> Result<Option<Words>, Corrupt> {
        let ring = self.replies();
        let (read, frame) = ring.find()?;
        let Some(frame) = frame else {
            // The worker may take long to write the frame behind padding: without the padding none waits. Replies are
            // not taken back.
            ring.ends.read.0.store(read, Ordering::Release);
            return Ok(None);
        };
        payload.clear();
        ring.copy(frame.at, frame.len, payload);
        ring.pass(&frame);
        Ok(Some(frame.words))
    }

    /// Parent: takes the whole results of the open reply that the worker was writing when it died: how many.
    pub(crate) fn take_open(&self, payload: &mut Vec<u8>) -> Result<u32, Corrupt> {
        let ring = self.replies();
        let open = self.counters().open.0.load(Ordering::Acquire);
        let (at, counts) = (low(open >> 32), low(open));
        let (count, len) = (counts >> 16, counts & 0xffff);
        if at != ring.ends.written.0.load(Ordering::Acquire) || count == 0 {
            return Ok(0);
        }
        // The word has room for 15 bytes more than a frame.
        if len as usize > LARGEST {
            return Err(Corrupt);
        }
        let place = Ring::place(at, HEADER + len).ok_or(Corrupt)?;
        payload.clear();
        ring.copy(place + HEADER, len, payload);
        Ok(count)
    }

    /// Either: whether a reply waits.
    pub(crate) fn has_reply(&self) -> bool {
        let Ends { written, read } = &self.counters().replies;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: begins the next request, if there is one.
    pub(crate) fn begin(&self) -> Result<Option<Frame>, Corrupt> {
        let cursor = &self.counters().cursor.0;
        let mut patience = 0;
        loop {
            let now = cursor.load(Ordering::Acquire);
            if now & REVOKED != 0 {
                // The parent is about to write the next cursor; unless the mark is a wild pointer's.
                patience += 1;
                if patience > 100_000 {
                    return Err(Corrupt);
                }
                std::thread::yield_now();
                continue;
            }
            let frame = self.requests().peek();
            if let Ok(None) = frame {
                return Ok(None);
            }
            let next = (now & !u64::from(u32::MAX)) | u64::from(number(now).wrapping_add(1));
            // The parent may have taken the request back since, and what was read of it may be half of another one.
            if cursor.compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return frame.map(|frame| frame.map(|frame| Frame { number: number(now), ..frame }));
            }
        }
    }

    /// Worker: a request's payload. It stays until the request is [passed](Self::pass).
    pub(crate) fn payload(&self, frame: &Frame) -> &[u8] {
        // SAFETY: `peek` has checked that the frame lies in the ring, and the parent writes there again only when it
        // is passed, which wants `&mut`-like care of the one thread that reads requests.
        unsafe { std::slice::from_raw_parts(self.requests().bytes.add(frame.at as usize).as_ptr(), frame.len as usize) }
    }

    /// Worker: gives a request's room back.
    pub(crate) fn pass(&self, frame: &Frame) {
        self.requests().pass(frame);
    }

    /// Worker: whether a request waits.
    pub(crate) fn has_request(&self) -> bool {
        let Ends { written, read } = &self.counters().requests;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: the place of the next reply, for so many bytes of payload; `None` while there is no room.
    pub(crate) fn reserve(&self, payload: usize) -> Result<Option<Place>, Corrupt> {
        let at = self.replies().reserve(payload)?;
        Ok(at.map(|at| Place { at, count: 0, len: 0 }))
    }

    /// Worker: adds a whole result to the open reply; `false` if it does not fit any more.
    pub(crate) fn add(&self, place: &mut Place, result: &[u8], room: usize) -> bool {
        let len = place.len as usize + result.len();
        if len > room || place.count == u32::from(u16::MAX) {
            return false;
        }
        self.replies().put(place.at.wrapping_add(HEADER + place.len), result);
        place.len = u32::try_from(len).unwrap_or(0);
        place.count += 1;
        let open = u64::from(place.at) << 32 | u64::from(place.count << 16 | place.len);
        self.counters().open.0.store(open, Ordering::Release);
        true
    }

    /// Worker: writes a reply that is not open before; `None` while there is no room.
    pub(crate) fn reply(&self, words: Words, payload: &[u8]) -> Result<Option<()>, Corrupt> {
        // The open reply of before has another position, until positions have wrapped around.
        self.counters().open.0.store(0, Ordering::Relaxed);
        self.replies().write(words, payload).map(|end| end.map(drop))
    }

    /// Worker: ends the open reply.
    pub(crate) fn publish(&self, place: &Place, words: Words) {
        self.replies().publish(place.at, place.len, words);
    }
}

/// A reply that is being written.
pub(crate) struct Place {
    at: u32,
    count: u32,
    len: u32,
}

impl Place {
    /// Results in it.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

/// The number of requests begun, in a cursor.
fn number(cursor: u64) -> u32 {
    low(cursor)
}

/// The low half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the high half is another number")]
fn low(word: u64) -> u32 {
    word as u32
}

/// One of the two rings.
struct Ring<'a> {
    ends: &'a Ends,
    bytes: NonNull<u8>,
}

impl Ring<'_> {
    /// Writes a frame; `None` while there is no room.
    fn write(&self, words: Words, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        let Some(at) = self.reserve(payload.len())? else { return Ok(None) };
        self.put(at.wrapping_add(HEADER), payload);
        let len = u32::try_from(payload.len()).map_err(|_| Corrupt)?;
        Ok(Some(self.publish(at, len, words)))
    }

    /// The position where a frame of this length goes, with padding before it where it must be.
    fn reserve(&self, payload: usize) -> Result<Option<u32>, Corrupt> {
        assert!(payload <= LARGEST, "a frame of {payload} bytes is too long for the ring");
        let size = size_of_frame(u32::try_from(payload).map_err(|_| Corrupt)?);
        let (written, read) = (self.ends.written.0.load(Ordering::Relaxed), self.ends.read.0.load(Ordering::Acquire));
        let used = written.wrapping_sub(read);
        let to_end = RING - written % RING;
        let padding = if size > to_end { to_end } else { 0 };
        if used > RING || !written.is_multiple_of(HEADER) {
            return Err(Corrupt);
        }
        if used + padding + size > RING {
            return Ok(None);
        }
        if padding > 0 {
            self.put(written, &PADDING.to_ne_bytes());
            self.ends.written.0.store(written.wrapping_add(padding), Ordering::Release);
        }
        Ok(Some(written.wrapping_add(padding)))
    }

    fn publish(&self, at: u32, len: u32, words: Words) -> u32 {
        for (index, word) in (0..).zip([len, words[0], words[1], words[2]]) {
            self.put(at.wrapping_add(4 * index), &word.to_ne_bytes());
        }
        let end = at.wrapping_add(size_of_frame(len));
        self.ends.written.0.store(end, Ordering::Release);
        end
    }

    /// The next frame, checked.
    fn peek(&self) -> Result<Option<Frame>, Corrupt> {
        self.find().map(|(_, frame)| frame)
    }

    /// The next frame, checked, and its position: behind padding, also where no frame is there yet.
    fn find(&self) -> Result<(u32, Option<Frame>), Corrupt> {
        let mut read = self.ends.read.0.load(Ordering::Relaxed);
        // Padding comes once, and a frame behind it.
        for _ in 0..2 {
            let waiting = self.ends.written.0.load(Ordering::Acquire).wrapping_sub(read);
            if waiting == 0 {
                return Ok((read, None));
            }
            if waiting > RING || !waiting.is_multiple_of(HEADER) || !read.is_multiple_of(HEADER) {
                return Err(Corrupt);
            }
            let header = Self::place(read, HEADER).ok_or(Corrupt)?;
            let word = |index: u32| {
                let mut word = [0; 4];
                self.read(header + 4 * index, &mut word);
                u32::from_ne_bytes(word)
            };
            let len = word(0);
            if len == PADDING {
                let padding = RING - read % RING;
                if padding > waiting {
                    return Err(Corrupt);
                }
                // Passed with the frame behind it: the parent may still take that one back, and cut the ring off here.
                read = read.wrapping_add(padding);
                continue;
            }
            if len as usize > LARGEST || size_of_frame(len) > waiting || Self::place(read, HEADER + len).is_none() {
                return Err(Corrupt);
            }
            let words = [word(1), word(2), word(3)];
            let end = read.wrapping_add(size_of_frame(len));
            return Ok((read, Some(Frame { words, at: header + HEADER, len, end, number: 0 })));
        }
        Err(Corrupt)
    }

    fn pass(&self, frame: &Frame) {
        self.ends.read.0.store(frame.end, Ordering::Release);
    }

    /// Where in the ring a position is, if so many bytes are there without a break.
    fn place(position: u32, len: u32) -> Option<u32> {
        let place = position % RING;
        (len <= RING - place).then_some(place)
    }

    #[inline]
    fn put(&self, position: u32, bytes: &[u8]) {
        let place = Self::place(position, u32::try_from(bytes.len()).unwrap_or(RING + 1));
        let place = place.expect("`reserve` leaves no frame broken in two") as usize;
        // Most results of maps are numbers: calling `memcpy` takes longer than copying them.
        if let (4..=8, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            // SAFETY: as below; the two overlap, or meet.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 4).cast().write_unaligned(*last);
            }
            return;
        }
        if let (9..=16, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            // SAFETY: as below; the two overlap, or meet.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 8).cast().write_unaligned(*last);
            }
            return;
        }
        if bytes.len() < 4 {
            for (offset, byte) in bytes.iter().enumerate() {
                // SAFETY: as below.
                unsafe { self.bytes.add(place + offset).write(*byte) };
            }
            return;
        }
        // SAFETY: within the ring; the other process does not read it before `written` says so.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.add(place).as_ptr(), bytes.len()) };
    }

    fn read(&self, place: u32, bytes: &mut [u8]) {
        // SAFETY: `place` was checked; bytes may change meanwhile in the other process, and any are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(self.bytes.add(place as usize).as_ptr(), bytes.as_mut_ptr(), bytes.len());
        }
    }

    fn copy(&self, place: u32, len: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.read(place, &mut into[start..]);
    }
}

fn size_of_frame(payload: u32) -> u32 {
    (HEADER + payload).next_multiple_of(HEADER)
}
