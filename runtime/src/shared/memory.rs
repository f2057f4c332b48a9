//! [`Memory`]: shared memory whose every access is atomic, because other processes may write to it at any time.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::process::os::{self, Handle, Mapping};
use crate::process::{CodecError, Decoder, Encoder};
use crate::sys::owner::refuse_forked_worker;

/// The bytes before the contents: the words of a counter, a flag or a lock.
pub(super) const HEADER: usize = 64;

pub(super) struct Memory {
    fd: Handle,
    mapping: Mapping,
}

impl Memory {
    /// Makes zeroed memory with `len` bytes behind the header. All of its pages exist at once, so that no access to it
    /// fails.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let size = len.checked_add(HEADER).ok_or(io::ErrorKind::OutOfMemory)?;
        let fd = os::create_whole_memory(size)?;
        let mapping = Mapping::new(&fd)?;
        Ok(Self { fd, mapping })
    }

    /// As [`new`](Self::new), for what has no other way to say that there is no memory.
    pub(super) fn expect_new(len: usize) -> Self {
        Self::new(len).unwrap_or_else(|error| panic!("no shared memory: {error}"))
    }

    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.descriptor(self.fd.try_clone().map_err(CodecError::new)?)
    }

    /// The memory that another process sent. It has a fixed size, which was paid for, and at least a header.
    pub(super) fn received(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let fd = input.memory()?;
        let mapping = Mapping::received(&fd, 0).map_err(CodecError::new)?;
        if mapping.len() < HEADER {
            return Err(CodecError::new("a piece of shared memory is too short"));
        }
        Ok(Self { fd, mapping })
    }

    pub(super) fn fd(&self) -> &Handle {
        &self.fd
    }

    /// The number of bytes behind the header.
    pub(super) fn len(&self) -> usize {
        self.mapping.len() - HEADER
    }

    /// The address of `len` bytes at an offset.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len).filter(|end| *end <= self.mapping.len());
        assert!(end.is_some(), "{len} bytes at {offset} are not within the shared memory");
        refuse_forked_worker();
        // SAFETY: the offset is within the mapping, which the check above made sure of.
        unsafe { self.mapping.start().as_ptr().add(offset) }
    }

    /// A word of the header, or behind it.
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: `at` checked that the word is within the mapping, which lives as long as `self` and is aligned to
        // pages, and the offset is a multiple of the word's size. All accesses to the memory are atomic.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }
    }

    /// A long word of the header, or behind it.
    pub(super) fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: as in `word`.
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }
    }

    fn bytes(&self, offset: usize, len: usize) -> &[AtomicU8] {
        // SAFETY: `at` checked that the bytes are within the mapping, which lives as long as `self`. Atomic bytes have
        // the alignment of bytes, and all accesses to the memory are atomic.
        unsafe { std::slice::from_raw_parts(self.at(offset, len).cast(), len) }
    }

    /// Copies bytes out.
    pub(super) fn read(&self, offset: usize, to: &mut [u8]) {
        let (mut from, mut to) = (self.bytes(offset, to.len()), to);
        // Words first, which takes an eighth of the time.
        let head = offset.next_multiple_of(8) - offset;
        if let (Some((first, words)), true) = (from.split_at_checked(head), to.len() >= head + 8) {
            let (first_to, words_to) = to.split_at_mut(head);
            copy_out(first, first_to);
            let count = words_to.len() / 8;
            for (index, word) in words_to.chunks_exact_mut(8).enumerate() {
                word.copy_from_slice(&self.long(offset + head + 8 * index).load(Ordering::Relaxed).to_ne_bytes());
            }
            (from, to) = (&words[8 * count..], &mut words_to[8 * count..]);
        }
        copy_out(from, to);
    }

    /// Copies bytes in.
    pub(super) fn write_bytes(&self, offset: usize, from: &[u8]) {
        let (mut to, mut from) = (self.bytes(offset, from.len()), from);
        let head = offset.next_multiple_of(8) - offset;
        if from.len() >= head + 8 {
            copy_in(&from[..head], &to[..head]);
            (from, to) = (&from[head..], &to[head..]);
            let words = from.chunks_exact(8);
            let rest = words.remainder();
            for (index, word) in words.enumerate() {
                let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
                self.long(offset + head + 8 * index).store(word, Ordering::Relaxed);
            }
            (to, from) = (&to[from.len() - rest.len()..], rest);
        }
        copy_in(from, to);
    }
}

fn copy_out(from: &[AtomicU8], to: &mut [u8]) {
    from.iter().zip(to).for_each(|(from, to)| *to = from.load(Ordering::Relaxed));
}

fn copy_in(from: &[u8], to: &[AtomicU8]) {
    from.iter().zip(to).for_each(|(from, to)| to.store(*from, Ordering::Relaxed));
}
