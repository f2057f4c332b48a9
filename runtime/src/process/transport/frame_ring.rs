//! [`FrameRing`]: a ring of frames in shared memory, with one writer and one reader.
//!
//! A frame is a header of four words and a payload. The first word is the length of the payload; the ring does not
//! interpret the others. Positions count bytes modulo 2^32. A frame never crosses the end of the ring: where it would,
//! a padding frame fills the rest of the ring.
//!
//! The writer stores the frame, and then the written position (release). The reader loads the written position
//! (acquire), reads the frame, and then stores the read position (release). The reader of replies does not trust the
//! writer: it checks every position and length, and reads each word once.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The size of a ring in bytes, 256 KiB.
pub(super) const RING_SIZE: u32 = 1 << 18;

/// The longest payload. Four such frames fit into a ring whatever the padding, and the open word has 16 bits for a
/// length.
pub(crate) const MAX_PAYLOAD: usize = (RING_SIZE / 4) as usize - FRAME_HEADER as usize;

pub(super) const FRAME_HEADER: u32 = 16;

/// The length word of a padding frame, which fills the ring up to its end.
const PADDING: u32 = u32::MAX;

/// A value with a cache line of its own.
#[repr(C, align(64))]
pub(crate) struct CacheLine<T>(pub(crate) T);

/// The positions up to which a ring is written and read.
#[repr(C)]
pub(crate) struct RingPositions {
    pub(super) written: CacheLine<AtomicU32>,
    pub(super) read: CacheLine<AtomicU32>,
}

/// The shared memory holds values that a sound process does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The three words in the header of a frame that the ring carries without interpreting them.
pub(crate) type FrameWords = [u32; 3];

/// A frame that was found in a ring.
#[derive(Clone, Copy)]
pub(crate) struct RingFrame {
    pub(crate) words: FrameWords,
    /// The offset of its payload in the ring.
    pub(super) at: u32,
    pub(super) len: u32,
    /// The position behind the frame.
    pub(super) end: u32,
    /// The number of a request, counted modulo 2^32 as the cursor counts.
    pub(crate) number: u32,
}

/// One of the two rings.
pub(super) struct FrameRing<'a> {
    pub(super) positions: &'a RingPositions,
    pub(super) bytes: NonNull<u8>,
}

impl FrameRing<'_> {
    /// Writes a frame; returns the position behind it, or `None` if the ring is full.
    #[inline]
    pub(super) fn write_frame(&self, words: FrameWords, payload: &[u8]) -> Result<Option<u32>, Corrupt> {
        let Some(at) = self.reserve(payload.len())? else { return Ok(None) };
        self.write_at(at.wrapping_add(FRAME_HEADER), payload);
        let len = u32::try_from(payload.len()).map_err(|_| Corrupt)?;
        Ok(Some(self.publish(at, len, words)))
    }

    /// Reserves space for a frame, behind padding if it would cross the end of the ring; returns its position.
    #[inline]
    pub(super) fn reserve(&self, payload: usize) -> Result<Option<u32>, Corrupt> {
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

    #[inline]
    pub(super) fn publish(&self, at: u32, len: u32, words: FrameWords) -> u32 {
        for (index, word) in (0..).zip([len, words[0], words[1], words[2]]) {
            self.write_at(at.wrapping_add(4 * index), &word.to_ne_bytes());
        }
        let end = at.wrapping_add(size_of_frame(len));
        self.positions.written.0.store(end, Ordering::Release);
        end
    }

    /// The next frame, with its lengths checked.
    #[inline]
    pub(super) fn peek(&self) -> Result<Option<RingFrame>, Corrupt> {
        self.next_frame().map(|(_, frame)| frame)
    }

    /// The next frame, with its lengths checked, and its position. The position is behind padding, even if no frame is
    /// there yet.
    #[inline]
    pub(super) fn next_frame(&self) -> Result<(u32, Option<RingFrame>), Corrupt> {
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

    #[inline]
    pub(super) fn release(&self, frame: &RingFrame) {
        self.positions.read.0.store(frame.end, Ordering::Release);
    }

    /// The offset in the ring of a position, if `len` bytes from there on do not cross the end of the ring.
    #[inline]
    pub(super) fn offset_of(position: u32, len: u32) -> Option<u32> {
        let place = position % RING_SIZE;
        (len <= RING_SIZE - place).then_some(place)
    }

    #[inline]
    pub(super) fn write_at(&self, position: u32, bytes: &[u8]) {
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

    #[inline]
    pub(super) fn append_to(&self, place: u32, len: u32, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.read_at(place, &mut into[start..]);
    }
}

fn size_of_frame(payload: u32) -> u32 {
    (FRAME_HEADER + payload).next_multiple_of(FRAME_HEADER)
}
