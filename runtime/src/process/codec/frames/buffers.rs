//! The buffers of columns: written side by side into one block, and read from it.

use std::sync::Arc;

use polars_arrow::types::NativeType;
use polars_buffer::{Buffer, SharedStorage};

use crate::process::codec::{CodecError, Decoder, Encoder};
use crate::process::os;
use crate::process::os::refusal::no_memory_for_copy;
use crate::process::role::is_worker_process;
use crate::process::transport::segments::ReceivedBytes;

/// Every buffer begins at a multiple of this, as Arrow wants it.
const ALIGNMENT: usize = 64;

/// Copies from here on ask the system for large pages; below, no large page fits.
const LARGE_COPY: usize = 2 << 20;

/// So many bytes are copied, and then checked, at once.
const COPIED_AT_ONCE: usize = 64 << 10;

/// Buffers that are to be sent.
#[derive(Default)]
pub(super) struct ColumnBuffers<'a>(Vec<BufferSource<'a>>);

/// One buffer.
enum BufferSource<'a> {
    Lent(&'a [u8]),
    Own(SharedStorage<u8>),
    /// Its bytes lie in several places.
    Runs(Vec<&'a [u8]>),
}

impl BufferSource<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Lent(bytes) => bytes.len(),
            Self::Own(bytes) => bytes.len(),
            Self::Runs(runs) => runs.iter().map(|run| run.len()).sum(),
        }
    }
}

impl<'a> ColumnBuffers<'a> {
    pub(super) fn add(&mut self, bytes: &'a [u8]) {
        self.0.push(BufferSource::Lent(bytes));
    }

    pub(super) fn add_values<T: NativeType>(&mut self, values: &'a [T]) {
        self.add(bytes_of(values));
    }

    pub(super) fn add_own(&mut self, bytes: SharedStorage<u8>) {
        self.0.push(BufferSource::Own(bytes));
    }

    pub(super) fn add_runs(&mut self, runs: Vec<&'a [u8]>) {
        self.0.push(BufferSource::Runs(runs));
    }

    /// Writes all of them, and where each is.
    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let lens: Vec<usize> = self.0.iter().map(BufferSource::len).collect();
        out.value(&lens)?;
        let padding = [0; ALIGNMENT];
        let mut aligned = Vec::with_capacity(2 * self.0.len());
        for (part, len) in self.0.iter().zip(lens) {
            match part {
                BufferSource::Lent(bytes) => aligned.push(*bytes),
                BufferSource::Own(bytes) => aligned.push(bytes),
                BufferSource::Runs(runs) => aligned.extend_from_slice(runs),
            }
            aligned.push(&padding[..len.next_multiple_of(ALIGNMENT) - len]);
        }
        out.bytes(&aligned)
    }
}

fn bytes_of<T: NativeType>(values: &[T]) -> &[u8] {
    // SAFETY: native types are plain numbers without padding: all of their bytes may be looked at.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Buffers that have come.
///
/// A worker that was taken over can write to its block while its parent reads it. So the parent copies every buffer
/// whose bits must be checked, or counted and then relied on ([`ReceivedBuffers::own`]), and checks the copy. Numbers may have any
/// bits, and are used where they lie ([`ReceivedBuffers::shared`]). A worker trusts its parent, and copies nothing.
pub(super) struct ReceivedBuffers {
    block: Arc<ReceivedBytes>,
    /// Where each begins and how long it is, from the next one on.
    buffers: std::vec::IntoIter<(usize, usize)>,
    /// Whether the sender is the parent.
    trusted: bool,
}

impl ReceivedBuffers {
    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let lens: Vec<usize> = input.value()?;
        let block = input.bytes()?.into_received()?;
        let mut start = 0_usize;
        let mut buffers = Vec::with_capacity(lens.len());
        for len in lens {
            buffers.push((start, len));
            let end = len.checked_next_multiple_of(ALIGNMENT).and_then(|len| start.checked_add(len));
            start = end.filter(|end| *end <= block.bytes().len()).ok_or_else(missing)?;
        }
        Ok(Self { block: Arc::new(block), buffers: buffers.into_iter(), trusted: is_worker_process() })
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Where the next buffer is, and of how many values it is: `len`, or as many as there are.
    fn next<T: NativeType>(&mut self, len: Option<usize>) -> Result<(*const T, usize), CodecError> {
        let (start, bytes) = self.buffers.next().ok_or_else(missing)?;
        let found = bytes / size_of::<T>();
        let place = self.block.bytes()[start..start + bytes].as_ptr().cast::<T>();
        if len.is_some_and(|len| len != found) || bytes % size_of::<T>() != 0 || !place.is_aligned() {
            return Err(missing());
        }
        Ok((place, found))
    }

    /// The next buffer where it lies. The sender may change it at any time: for values that may have any bits.
    pub(super) fn shared<T: NativeType>(&mut self, len: Option<usize>) -> Result<SharedStorage<T>, CodecError> {
        let (place, len) = self.next(len)?;
        // SAFETY: `next` found an aligned place within the block, and any bits are a native value.
        let values = unsafe { std::slice::from_raw_parts(place, len) };
        // SAFETY: the owner keeps the block mapped until the last buffer is dropped.
        Ok(unsafe { SharedStorage::from_slice_with_owner(values, Arc::clone(&self.block)) })
    }

    /// A copy of the next buffer, which the sender cannot reach. `seen` is shown all of the copy, block by block, while
    /// it is in the processor's cache.
    pub(super) fn copied<T: NativeType>(
        &mut self,
        len: Option<usize>,
        mut seen: impl FnMut(&mut [T]) -> Result<(), CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let (place, len) = self.next::<T>(len)?;
        let mut copy = Vec::<T>::new();
        copy.try_reserve_exact(len)
            .map_err(|_| CodecError::new(no_memory_for_copy(len.saturating_mul(size_of::<T>()))))?;
        if len * size_of::<T>() >= LARGE_COPY {
            os::advise_huge_pages(copy.as_mut_ptr().cast(), len * size_of::<T>());
        }
        let block = COPIED_AT_ONCE / size_of::<T>();
        for start in (0..len).step_by(block) {
            let count = block.min(len - start);
            // SAFETY: `next` found `len` values there, the copy has room for them, and any bits are a native value.
            unsafe {
                std::ptr::copy_nonoverlapping(place.add(start), copy.as_mut_ptr().add(start), count);
                copy.set_len(start + count);
            }
            // What is checked is the copy, and never the sender's block once more.
            std::hint::black_box(copy.as_mut_ptr());
            seen(&mut copy[start..])?;
        }
        Ok(copy)
    }

    /// The next buffer, which nobody changes: where it lies if the sender is trusted, or else a copy.
    pub(super) fn own<T: NativeType>(&mut self, len: Option<usize>) -> Result<SharedStorage<T>, CodecError> {
        if self.trusted { self.shared(len) } else { self.copied(len, |_| Ok(())).map(SharedStorage::from_vec) }
    }

    /// [`ReceivedBuffers::own`] as a buffer.
    pub(super) fn own_buffer<T: NativeType>(&mut self, len: Option<usize>) -> Result<Buffer<T>, CodecError> {
        self.own(len).map(Buffer::from_storage)
    }
}

pub(super) fn missing() -> CodecError {
    CodecError::new("a column's data is not all there")
}
