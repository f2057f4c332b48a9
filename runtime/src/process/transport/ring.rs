//! [`Rings`]: the memory that a parent and one worker share, with a [ring](super::frame_ring) of
//! requests and one of replies.
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
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use super::frame_ring::{CacheLine, Corrupt, FrameWords, MAX_PAYLOAD, RingFrame};
use super::frame_ring::{FRAME_HEADER, FrameRing, RING_SIZE, RingPositions};
use crate::process::os::{self, Bell, Handle, Mapping, Socket};

/// The offset of the first ring, behind the counters.
const RINGS_OFFSET: usize = 4096;

/// The bit of the cursor that is set while the parent takes requests back. The generation is counted in the bits above
/// it.
const REVOKED: u64 = 1 << 32;
const GENERATION: u64 = 1 << 33;

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

/// The shared memory of a parent and one worker.
pub(crate) struct Rings {
    mapping: Mapping,
    /// How the parent wakes the worker.
    pub(super) bell: Bell,
}

impl Rings {
    /// Creates the memory; returns it with the descriptor by which a worker opens it.
    pub(crate) fn create() -> io::Result<(Self, Handle)> {
        let fd = os::create_memory(RINGS_OFFSET + 2 * RING_SIZE as usize)?;
        Ok((Self { mapping: Mapping::new(&fd)?, bell: Bell::unconnected() }, fd))
    }

    /// Opens the memory that the parent created.
    pub(crate) fn open(fd: &Handle) -> io::Result<Self> {
        let mapping = Mapping::new(fd)?;
        if mapping.len() != RINGS_OFFSET + 2 * RING_SIZE as usize {
            return Err(io::Error::other("the shared memory is of another build"));
        }
        Ok(Self { mapping, bell: Bell::unconnected() })
    }

    /// Wakes the worker through this connection, where the system needs one.
    pub(crate) fn connect(&mut self, socket: &Socket) {
        self.bell = Bell::of(socket);
    }

    pub(crate) fn counters(&self) -> &RingCounters {
        const { assert!(size_of::<RingCounters>() <= RINGS_OFFSET) };
        // SAFETY: the mapping lives as long as `self`, is aligned to a page and, as the assertion shows, long enough.
        // Any bits are valid in the atomics of `RingCounters`, whatever the other process writes.
        unsafe { self.mapping.start().cast().as_ref() }
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
        let bytes = unsafe { self.mapping.start().add(offset) };
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
