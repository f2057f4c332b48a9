//! [`Rings`]: the memory that a parent and one worker share, with a ring of requests and a ring of replies.
//!
//! # Which requests the worker runs
//!
//! The worker takes requests in order. Before it reads a request it moves the *cursor*, the number of requests begun,
//! from n to n + 1 by compare-and-swap. So when a worker dies, the parent knows which request it was running. While the
//! worker lives, the parent can take the other requests back: [`Rings::take_back`] marks the cursor as revoked, cuts
//! the ring off behind the last request that was begun, and gives the cursor a new generation. A worker that saw the
//! old end of the ring fails to move the old cursor, and looks again.
//!
//! # What survives the death of a worker
//!
//! A reply of plain results that is still being written is *open*: one word holds the number of its complete results
//! and their length. The memory outlives the process, so these results are not lost when the worker dies. Every other
//! reply, with attachments or with an error, is never open, and counts once it is published.
//!
//! The parent does not trust what it reads here: it checks positions and lengths, and copies payloads before it uses
//! them.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::process::os::{self, Mapping, OwnedFd};

/// The size of a ring in bytes, 256 KiB.
const RING_SIZE: u32 = 1 << 18;
/// The longest payload. Four such frames fit into a ring whatever the padding, and the open word has 16 bits for a
/// length.
pub(crate) const MAX_PAYLOAD: usize = (RING_SIZE / 4) as usize - FRAME_HEADER as usize;
const FRAME_HEADER: u32 = 16;
/// The length word of a padding frame, which fills the ring up to its end.
const PADDING: u32 = u32::MAX;
/// The offset of the first ring, behind the counters.
const RINGS_OFFSET: usize = 4096;

/// The bit of the cursor that is set while the parent takes requests back. The generation is counted in the bits above
/// it.
const REVOKED: u64 = 1 << 32;
const GENERATION: u64 = 1 << 33;

/// A value with a cache line of its own.
#[repr(C, align(64))]
pub(crate) struct CacheLine<T>(pub(crate) T);

/// The counters of both rings. All fields are atomics, because both processes access them at any time.
#[repr(C)]
pub(crate) struct RingCounters {
    requests: RingPositions,
    replies: RingPositions,
    /// The number of requests begun in the low half, and the generation above it.
    cursor: CacheLine<AtomicU64>,
    /// Position, number of results and length of the open reply.
    open: CacheLine<AtomicU64>,
    /// The worker sleeps on `doorbell`; `worker_sleeps` says whether it does, and why.
    pub(crate) doorbell: CacheLine<AtomicU32>,
    pub(crate) worker_sleeps: CacheLine<AtomicU32>,
    /// Whether the parent sleeps, and how it is woken.
    pub(crate) parent_sleep: CacheLine<AtomicU32>,
    /// The parent's commands to the worker.
    pub(crate) commands: CacheLine<AtomicU32>,
}

/// The positions up to which a ring is written and read.
#[repr(C)]
pub(crate) struct RingPositions {
    written: CacheLine<AtomicU32>,
    read: CacheLine<AtomicU32>,
}

/// The shared memory holds values that a sound process does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The three words in the header of a frame that the ring carries without interpreting them.
pub(crate) type FrameWords = [u32; 3];

/// The shared memory of a parent and one worker.
pub(crate) struct Rings(Mapping);

/// A frame that was found in a ring.
#[derive(Clone, Copy)]
pub(crate) struct RingFrame {
    pub(crate) words: FrameWords,
    /// The offset of its payload in the ring.
    at: u32,
    len: u32,
    /// The position behind the frame.
    end: u32,
    /// The number of a request, counted modulo 2^32 as the cursor counts.
    pub(crate) number: u32,
}

impl Rings {
    /// Creates the memory; returns it with the descriptor by which a worker opens it.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = os::create_memory(RINGS_OFFSET + 2 * RING_SIZE as usize)?;
        Ok((Self(Mapping::new(&fd)?), fd))
    }

    /// Opens the memory that the parent created.
    pub(crate) fn open(fd: &OwnedFd) -> io::Result<Self> {
        let mapping = Mapping::new(fd)?;
        if mapping.len() != RINGS_OFFSET + 2 * RING_SIZE as usize {
            return Err(io::Error::other("the shared memory is of another build"));
        }
        Ok(Self(mapping))
    }

    pub(crate) fn counters(&self) -> &RingCounters {
        const { assert!(size_of::<RingCounters>() <= RINGS_OFFSET) };
        // SAFETY: the mapping lives as long as `self`, is aligned to a page and, as the assertion shows, long enough.
        // Any bits are valid in the atomics of `RingCounters`, whatever the other process writes.
        unsafe { self.0.start().cast().as_ref() }
    }

    fn requests(&self) -> FrameRing<'_> {
        self.ring(&self.counters().requests, RINGS_OFFSET)
    }

    fn replies(&self) -> FrameRing<'_> {
        self.ring(&self.counters().replies, RINGS_OFFSET + RING_SIZE as usize)
    }

    fn ring<'a>(&'a self, positions: &'a RingPositions, offset: usize) -> FrameRing<'a> {
        // SAFETY: `create` and `open` made sure that the mapping has the size of the counters and two rings, and
        // `offset` is that of one of the rings.
        let bytes = unsafe { self.0.start().add(offset) };
        FrameRing { positions, bytes }
    }

    /// Parent: writes a request; returns the position behind it, or `None` if the ring is full.
    pub(crate) fn post(&self, words: FrameWords, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        self.requests().write_frame(words, payload)
    }

    /// Parent: the number of requests that the worker has begun, modulo 2^32.
    pub(crate) fn begun_count(&self) -> u32 {
        begun_count(self.counters().cursor.0.load(Ordering::Acquire))
    }

    /// Parent: takes back all requests that were not begun; returns how many requests were begun. `end_of` returns the
    /// position behind the last of so many requests.
    pub(crate) fn take_back(&self, end_of: impl FnOnce(u32) -> u32) -> u32 {
        let counters = self.counters();
        let before = counters.cursor.0.fetch_or(REVOKED, Ordering::AcqRel);
        let begun = begun_count(before);
        counters.requests.written.0.store(end_of(begun), Ordering::Release);
        counters.cursor.0.store((before & !REVOKED).wrapping_add(GENERATION), Ordering::Release);
        begun
    }

    /// Parent: takes the next reply. `None` although [`has_reply`](Self::has_reply) is true means that only padding was
    /// there; then the next frame is a reply.
    pub(crate) fn take_reply(&self, payload: &mut Vec<u8>) -> Result<Option<FrameWords>, Corrupt> {
        let ring = self.replies();
        let (read, frame) = ring.next_frame()?;
        let Some(frame) = frame else {
            // Skips the padding, so that `has_reply` is false until the worker has written the frame behind it, which
            // may take long. Unlike requests, replies are never taken back.
            ring.positions.read.0.store(read, Ordering::Release);
            return Ok(None);
        };
        payload.clear();
        ring.append_to(frame.at, frame.len, payload);
        ring.release(&frame);
        Ok(Some(frame.words))
    }

    /// Parent: takes the complete results of the reply that the worker was writing when it died; returns their number.
    pub(crate) fn take_open_reply(&self, payload: &mut Vec<u8>) -> Result<u32, Corrupt> {
        let ring = self.replies();
        let open = self.counters().open.0.load(Ordering::Acquire);
        let (at, counts) = (low_half(open >> 32), low_half(open));
        let (count, len) = (counts >> 16, counts & 0xffff);
        if at != ring.positions.written.0.load(Ordering::Acquire) || count == 0 {
            return Ok(0);
        }
        // The length field can say 15 bytes more than the largest frame has.
        if len as usize > MAX_PAYLOAD {
            return Err(Corrupt);
        }
        let place = FrameRing::offset_of(at, FRAME_HEADER + len).ok_or(Corrupt)?;
        payload.clear();
        ring.append_to(place + FRAME_HEADER, len, payload);
        Ok(count)
    }

    /// Whether a frame waits in the ring of replies.
    pub(crate) fn has_reply(&self) -> bool {
        let RingPositions { written, read } = &self.counters().replies;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: begins the next request; `None` if there is none.
    pub(crate) fn begin_request(&self) -> Result<Option<RingFrame>, Corrupt> {
        let cursor = &self.counters().cursor.0;
        let mut attempts = 0;
        loop {
            let now = cursor.load(Ordering::Acquire);
            if now & REVOKED != 0 {
                // The parent is about to store the next cursor, unless a wild pointer wrote the mark.
                attempts += 1;
                if attempts > 100_000 {
                    return Err(Corrupt);
                }
                std::thread::yield_now();
                continue;
            }
            let frame = self.requests().peek();
            if let Ok(None) = frame {
                return Ok(None);
            }
            let next = (now & !u64::from(u32::MAX)) | u64::from(begun_count(now).wrapping_add(1));
            // The exchange fails if the parent took the request back since `peek`; then `frame` may be half of another
            // request.
            if cursor.compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return frame.map(|frame| frame.map(|frame| RingFrame { number: begun_count(now), ..frame }));
            }
        }
    }

    /// Worker: the payload of a request. It is valid until [`release_request`](Self::release_request).
    pub(crate) fn request_payload(&self, frame: &RingFrame) -> &[u8] {
        // SAFETY: `peek` checked that the frame lies within the ring. The parent, which a worker trusts, writes there
        // again only after `release_request`, and `Worker::serve_request` calls this when it no longer uses the
        // payload.
        unsafe { std::slice::from_raw_parts(self.requests().bytes.add(frame.at as usize).as_ptr(), frame.len as usize) }
    }

    /// Worker: frees the space of a request.
    pub(crate) fn release_request(&self, frame: &RingFrame) {
        self.requests().release(frame);
    }

    /// Worker: whether a request waits.
    pub(crate) fn has_request(&self) -> bool {
        let RingPositions { written, read } = &self.counters().requests;
        written.0.load(Ordering::Acquire) != read.0.load(Ordering::Acquire)
    }

    /// Worker: reserves space for a reply of at most `payload` bytes; `None` if the ring is full.
    pub(crate) fn reserve_reply(&self, payload: usize) -> Result<Option<OpenReply>, Corrupt> {
        let at = self.replies().reserve(payload)?;
        Ok(at.map(|at| OpenReply { at, count: 0, len: 0 }))
    }

    /// Worker: appends a complete result to the open reply; `false` if it exceeds the reserved space.
    pub(crate) fn append_result(&self, open: &mut OpenReply, result: &[u8], room: usize) -> bool {
        let len = open.len as usize + result.len();
        if len > room || open.count == u32::from(u16::MAX) {
            return false;
        }
        self.replies().write_at(open.at.wrapping_add(FRAME_HEADER + open.len), result);
        open.len = u32::try_from(len).unwrap_or(0);
        open.count += 1;
        let open = u64::from(open.at) << 32 | u64::from(open.count << 16 | open.len);
        self.counters().open.0.store(open, Ordering::Release);
        true
    }

    /// Worker: writes a complete reply, which is never open; `None` if the ring is full.
    pub(crate) fn write_reply(&self, words: FrameWords, payload: &[u8]) -> Result<Option<()>, Corrupt> {
        // The word of the previous open reply has another position, but positions wrap around.
        self.counters().open.0.store(0, Ordering::Relaxed);
        self.replies().write_frame(words, payload).map(|end| end.map(drop))
    }

    /// Worker: publishes the open reply.
    pub(crate) fn publish_open_reply(&self, open: &OpenReply, words: FrameWords) {
        self.replies().publish(open.at, open.len, words);
    }
}

/// A reply that is being written.
pub(crate) struct OpenReply {
    at: u32,
    count: u32,
    len: u32,
}

impl OpenReply {
    /// The number of results in the reply.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

/// The number of requests begun, from the cursor.
fn begun_count(cursor: u64) -> u32 {
    low_half(cursor)
}

/// The low 32 bits of a word.
#[allow(clippy::cast_possible_truncation, reason = "the high half is another number")]
fn low_half(word: u64) -> u32 {
    word as u32
}

/// One of the two rings.
struct FrameRing<'a> {
    positions: &'a RingPositions,
    bytes: NonNull<u8>,
}

impl FrameRing<'_> {
    /// Writes a frame; returns the position behind it, or `None` if the ring is full.
    fn write_frame(&self, words: FrameWords, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        let Some(at) = self.reserve(payload.len())? else { return Ok(None) };
        self.write_at(at.wrapping_add(FRAME_HEADER), payload);
        let len = u32::try_from(payload.len()).map_err(|_| Corrupt)?;
        Ok(Some(self.publish(at, len, words)))
    }

    /// Reserves space for a frame, behind padding if it would cross the end of the ring; returns its position.
    fn reserve(&self, payload: usize) -> Result<Option<u32>, Corrupt> {
        assert!(payload <= MAX_PAYLOAD, "a frame of {payload} bytes is too long for the ring");
        let size = size_of_frame(u32::try_from(payload).map_err(|_| Corrupt)?);
        let (written, read) =
            (self.positions.written.0.load(Ordering::Relaxed), self.positions.read.0.load(Ordering::Acquire));
        let used = written.wrapping_sub(read);
        let to_end = RING_SIZE - written % RING_SIZE;
        let padding = if size > to_end { to_end } else { 0 };
        if used > RING_SIZE || !written.is_multiple_of(FRAME_HEADER) {
            return Err(Corrupt);
        }
        if used + padding + size > RING_SIZE {
            return Ok(None);
        }
        if padding > 0 {
            self.write_at(written, &PADDING.to_ne_bytes());
            self.positions.written.0.store(written.wrapping_add(padding), Ordering::Release);
        }
        Ok(Some(written.wrapping_add(padding)))
    }

    fn publish(&self, at: u32, len: u32, words: FrameWords) -> u32 {
        for (index, word) in (0..).zip([len, words[0], words[1], words[2]]) {
            self.write_at(at.wrapping_add(4 * index), &word.to_ne_bytes());
        }
        let end = at.wrapping_add(size_of_frame(len));
        self.positions.written.0.store(end, Ordering::Release);
        end
    }

    /// The next frame, with its lengths checked.
    fn peek(&self) -> Result<Option<RingFrame>, Corrupt> {
        self.next_frame().map(|(_, frame)| frame)
    }

    /// The next frame, with its lengths checked, and its position. The position is behind padding, even if no frame is
    /// there yet.
    fn next_frame(&self) -> Result<(u32, Option<RingFrame>), Corrupt> {
        let mut read = self.positions.read.0.load(Ordering::Relaxed);
        // Padding is followed by a frame, never by padding.
        for _ in 0..2 {
            let waiting = self.positions.written.0.load(Ordering::Acquire).wrapping_sub(read);
            if waiting == 0 {
                return Ok((read, None));
            }
            if waiting > RING_SIZE || !waiting.is_multiple_of(FRAME_HEADER) || !read.is_multiple_of(FRAME_HEADER) {
                return Err(Corrupt);
            }
            let header = Self::offset_of(read, FRAME_HEADER).ok_or(Corrupt)?;
            let word = |index: u32| {
                let mut word = [0; 4];
                self.read_at(header + 4 * index, &mut word);
                u32::from_ne_bytes(word)
            };
            let len = word(0);
            if len == PADDING {
                let padding = RING_SIZE - read % RING_SIZE;
                if padding > waiting {
                    return Err(Corrupt);
                }
                // The read position stays before the padding until the frame is released: the parent may still take the
                // frame back and cut the ring off at the padding.
                read = read.wrapping_add(padding);
                continue;
            }
            if len as usize > MAX_PAYLOAD
                || size_of_frame(len) > waiting
                || Self::offset_of(read, FRAME_HEADER + len).is_none()
            {
                return Err(Corrupt);
            }
            let words = [word(1), word(2), word(3)];
            let end = read.wrapping_add(size_of_frame(len));
            return Ok((read, Some(RingFrame { words, at: header + FRAME_HEADER, len, end, number: 0 })));
        }
        Err(Corrupt)
    }

    fn release(&self, frame: &RingFrame) {
        self.positions.read.0.store(frame.end, Ordering::Release);
    }

    /// The offset in the ring of a position, if `len` bytes from there on do not cross the end of the ring.
    fn offset_of(position: u32, len: u32) -> Option<u32> {
        let place = position % RING_SIZE;
        (len <= RING_SIZE - place).then_some(place)
    }

    #[inline]
    fn write_at(&self, position: u32, bytes: &[u8]) {
        let place = Self::offset_of(position, u32::try_from(bytes.len()).unwrap_or(RING_SIZE + 1));
        let place = place.expect("`reserve` leaves no frame broken in two") as usize;
        // Most results of maps are numbers, for which a call of `memcpy` takes longer than the copy.
        if let (4..=8, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            // SAFETY: `offset_of` found `bytes.len()` bytes within the ring from `place` on, and 4 to 8 bytes are
            // covered by their first and last 4. The other process does not read them before `written` is stored.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 4).cast().write_unaligned(*last);
            }
            return;
        }
        if let (9..=16, Some(first), Some(last)) = (bytes.len(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            // SAFETY: `offset_of` found `bytes.len()` bytes within the ring from `place` on, and 9 to 16 bytes are
            // covered by their first and last 8. The other process does not read them before `written` is stored.
            unsafe {
                self.bytes.add(place).cast().write_unaligned(*first);
                self.bytes.add(place + bytes.len() - 8).cast().write_unaligned(*last);
            }
            return;
        }
        if bytes.len() < 4 {
            for (offset, byte) in bytes.iter().enumerate() {
                // SAFETY: `offset_of` found `bytes.len()` bytes within the ring from `place` on. The other process does
                // not read them before `written` is stored.
                unsafe { self.bytes.add(place + offset).write(*byte) };
            }
            return;
        }
        // SAFETY: `offset_of` found `bytes.len()` bytes within the ring from `place` on, and `bytes` is private memory,
        // so the two do not overlap. The other process does not read them before `written` is stored.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.add(place).as_ptr(), bytes.len()) };
    }

    fn read_at(&self, place: u32, bytes: &mut [u8]) {
        // SAFETY: the caller got `place` from `offset_of`, with a length of at least `bytes.len()`. The other process
        // may write to the bytes meanwhile; any values are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(self.bytes.add(place as usize).as_ptr(), bytes.as_mut_ptr(), bytes.len());
        }
    }

    fn append_to(&self, place: u32, len: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.read_at(place, &mut into[start..]);
    }
}

fn size_of_frame(payload: u32) -> u32 {
    (FRAME_HEADER + payload).next_multiple_of(FRAME_HEADER)
}
