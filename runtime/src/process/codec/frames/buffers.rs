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

/// Buffers that are written.
#[derive(Default)]
pub(super) struct ColumnBuffers<'a>(Vec<BufferSource<'a>>);

/// The bytes of one buffer.
enum BufferSource<'a> {
    Lent(&'a [u8]),
    Own(SharedStorage<u8>),
    /// Bytes that lie in several places.
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

    /// Writes the lengths of all buffers, and the buffers as one attachment.
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
    // SAFETY: `NativeType` is implemented for plain numbers without padding, so all their bytes are initialized. The
    // length is that of the slice in bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Buffers that are read.
///
/// A compromised worker can write to the attachment while its parent reads it. So the parent copies every buffer whose
/// contents are checked, or counted and then relied on ([`ReceivedBuffers::own`]), and checks the copy. Numbers may
/// have any bits, so they are used in place ([`ReceivedBuffers::shared`]). A worker trusts its parent and copies
/// nothing.
pub(super) struct ReceivedBuffers {
    block: Arc<ReceivedBytes>,
    /// Offset and length of each buffer that is not read yet.
    buffers: std::vec::IntoIter<(usize, usize)>,
    /// Whether the sender is the parent of this process.
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

    /// The address and the length in values of the next buffer. A given `len` must be that length.
    fn next<T: NativeType>(&mut self, len: Option<usize>) -> Result<(*const T, usize), CodecError> {
        let (start, bytes) = self.buffers.next().ok_or_else(missing)?;
        let found = bytes / size_of::<T>();
        let place = self.block.bytes()[start..start + bytes].as_ptr().cast::<T>();
        if len.is_some_and(|len| len != found) || bytes % size_of::<T>() != 0 || !place.is_aligned() {
            return Err(missing());
        }
        Ok((place, found))
    }

    /// The next buffer in place. A compromised worker may change it at any time, so `T` is a type for which any bits
    /// are valid.
    pub(super) fn shared<T: NativeType>(&mut self, len: Option<usize>) -> Result<SharedStorage<T>, CodecError> {
        let (place, len) = self.next(len)?;
        // SAFETY: `next` returned the aligned address of `len` values within the attachment, and any bits are a valid
        // native value.
        let values = unsafe { std::slice::from_raw_parts(place, len) };
        // SAFETY: the owner is the attachment. It stays mapped until the storage and its clones are dropped.
        Ok(unsafe { SharedStorage::from_slice_with_owner(values, Arc::clone(&self.block)) })
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
    pub(super) fn own<T: NativeType>(&mut self, len: Option<usize>) -> Result<SharedStorage<T>, CodecError> {
        if self.trusted { self.shared(len) } else { self.copied(len, |_| Ok(())).map(SharedStorage::from_vec) }
    }

    /// The next buffer as [`own`](Self::own) returns it, as a `Buffer`.
    pub(super) fn own_buffer<T: NativeType>(&mut self, len: Option<usize>) -> Result<Buffer<T>, CodecError> {
        self.own(len).map(Buffer::from_storage)
    }
}

pub(super) fn missing() -> CodecError {
    CodecError::new("a column's data is not all there")
}
