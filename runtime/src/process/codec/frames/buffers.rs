//! The buffers of columns: written side by side into one attachment, and read from it.

use std::sync::Arc;

use polars_arrow::types::NativeType;
use polars_buffer::{Buffer, SharedStorage};

use crate::process::codec::{CodecError, Decoder, Encoder};
use crate::process::os;
use crate::process::os::refusal::no_memory_for_copy;
use crate::process::role::is_worker_process;
use crate::process::transport::segments::ReceivedBytes;

/// The alignment of every buffer in the attachment, as Arrow wants it.
const ALIGNMENT: usize = 64;

/// The size from which a copy asks the kernel for huge pages. A smaller one may hold no huge page.
const LARGE_COPY: usize = 2 << 20;

/// The bytes that are copied and then checked at a time, so that the check finds them in the processor's cache.
const COPIED_AT_ONCE: usize = 64 << 10;

/// The arrays of columns that are written.
#[derive(Default)]
pub(super) struct ColumnBuffers {
    /// What describes the columns and their arrays, and the length of each buffer where it is read.
    pub(super) numbers: Vec<usize>,
    buffers: Vec<Buffer<u8>>,
}

impl ColumnBuffers {
    pub(super) fn add<T: NativeType>(&mut self, values: &Buffer<T>) -> Result<(), CodecError> {
        let bytes: Buffer<u8> = values.clone().try_transmute().map_err(|_| missing())?;
        self.numbers.push(bytes.len());
        self.buffers.push(bytes);
        Ok(())
    }

    /// Writes the numbers, and the buffers as one attachment.
    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&self.numbers)?;
        let padding = [0; ALIGNMENT];
        let aligned = self.buffers.iter().flat_map(|buffer| {
            let end = buffer.len().next_multiple_of(ALIGNMENT);
            [buffer.as_slice(), &padding[..end - buffer.len()]]
        });
        out.bytes(&aligned.collect::<Vec<_>>())
    }
}

/// The arrays of columns that are read.
///
/// A compromised worker can write to the attachment while its parent reads it. So the parent copies every buffer whose
/// contents are checked, or counted and then relied on ([`ReceivedBuffers::own`]), and checks the copy. Numbers may
/// have any bits, so they are used in place ([`ReceivedBuffers::shared`]). A worker trusts its parent and copies
/// nothing.
pub(super) struct ReceivedBuffers {
    numbers: std::vec::IntoIter<usize>,
    block: Arc<ReceivedBytes>,
    /// The offset of the next buffer.
    start: usize,
    /// Whether the sender is the parent of this process.
    trusted: bool,
}

impl ReceivedBuffers {
    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let numbers = input.value::<Vec<usize>>()?.into_iter();
        let block = Arc::new(input.bytes()?.into_received()?);
        Ok(Self { numbers, block, start: 0, trusted: is_worker_process() })
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The next of the numbers that describe the columns and their arrays.
    pub(super) fn number(&mut self) -> Result<usize, CodecError> {
        self.numbers.next().ok_or_else(missing)
    }

    /// The address and the length in values of the next buffer. A given `len` must be that length.
    fn next<T: NativeType>(&mut self, len: Option<usize>) -> Result<(*const T, usize), CodecError> {
        let bytes = self.number()?;
        let rest = self.block.bytes().get(self.start..).ok_or_else(missing)?;
        let (found, place) = (bytes / size_of::<T>(), rest.as_ptr().cast::<T>());
        let end = bytes.checked_next_multiple_of(ALIGNMENT).filter(|end| *end <= rest.len());
        self.start += end.ok_or_else(missing)?;
        if len.is_some_and(|len| len != found) || bytes % size_of::<T>() != 0 || !place.is_aligned() {
            return Err(missing());
        }
        Ok((place, found))
    }

    /// The next buffer in place. A compromised worker may change it at any time, so `T` is a type for which any bits
    /// are valid.
    pub(super) fn shared<T: NativeType>(&mut self, len: Option<usize>) -> Result<Buffer<T>, CodecError> {
        let (place, len) = self.next(len)?;
        // SAFETY: `next` returned the aligned address of `len` values within the attachment, and any bits are a valid
        // native value.
        let values = unsafe { std::slice::from_raw_parts(place, len) };
        // SAFETY: the owner is the attachment. It stays mapped until the storage and its clones are dropped.
        let storage = unsafe { SharedStorage::from_slice_with_owner(values, Arc::clone(&self.block)) };
        Ok(Buffer::from_storage(storage))
    }

    /// A private copy of the next buffer. `check` sees each block of the copy while it is in the processor's cache.
    pub(super) fn copied<T: NativeType>(
        &mut self,
        len: Option<usize>,
        mut check: impl FnMut(&mut [T]) -> Result<(), CodecError>,
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
            // SAFETY: `next` returned the address of `len` values, the capacity of the copy is `len`, and any bits are
            // a valid native value.
            unsafe {
                std::ptr::copy_nonoverlapping(place.add(start), copy.as_mut_ptr().add(start), count);
                copy.set_len(start + count);
            }
            // Keeps the compiler from checking the bytes of the attachment instead of the copy.
            std::hint::black_box(copy.as_mut_ptr());
            check(&mut copy[start..])?;
        }
        Ok(copy)
    }

    /// The next buffer, which does not change: in place if the sender is trusted, else a copy.
    pub(super) fn own<T: NativeType>(&mut self, len: Option<usize>) -> Result<Buffer<T>, CodecError> {
        if self.trusted { self.shared(len) } else { self.copied(len, |_| Ok(())).map(Buffer::from) }
    }
}

pub(super) fn missing() -> CodecError {
    CodecError::new("a column's data is not all there")
}
