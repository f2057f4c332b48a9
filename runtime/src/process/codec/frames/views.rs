//! Arrays of texts and bytes: 16 bytes a value (a view), which hold a short value or refer to a long one in a buffer.
//!
//! A slice of a column keeps all buffers of the column, so only what the array uses of them is sent ([`PackedViews`]).
//!
//! The parent of a worker checks views and bytes in a private copy ([`ReceivedBuffers`]).

use polars_arrow::array::{Array, BinaryViewArrayGeneric, View, ViewType};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use super::pack_views::PackedViews;
use crate::process::codec::CodecError;

/// The length of a buffer at most: Arrow's offsets in a buffer are `i32`.
const LONGEST_BUFFER: usize = i32::MAX as usize;

pub(super) fn write<T: ViewType + ?Sized>(
    array: &BinaryViewArrayGeneric<T>,
    to: &mut ColumnBuffers,
) -> Result<(), CodecError> {
    let packed = PackedViews::new(array.views(), array.data_buffers(), array.validity(), LONGEST_BUFFER);
    to.numbers.push(packed.buffers.len());
    packed.buffers.iter().try_for_each(|buffer| to.add(buffer))?;
    to.add(&packed.views)
}

pub(super) fn read<T: ViewType + ?Sized>(
    dtype: ArrowDataType,
    len: usize,
    validity: Option<Bitmap>,
    from: &mut ReceivedBuffers,
) -> Result<Box<dyn Array>, CodecError> {
    let count = from.number()?;
    let (views, buffers) = if from.is_trusted() {
        let buffers = (0..count).map(|_| from.own(None)).collect::<Result<Buffer<_>, _>>()?;
        (from.own(Some(len))?, buffers)
    } else {
        let buffer = |_| {
            let mut plain = true;
            let bytes = from.copied(None, |block: &mut [u8]| {
                plain = plain && (!T::IS_UTF8 || block.is_ascii());
                Ok(())
            })?;
            Ok(ReceivedBuffer::new(bytes, plain))
        };
        let buffers = (0..count).map(buffer).collect::<Result<Vec<_>, CodecError>>()?;
        let mut check = ViewCheck::new(T::IS_UTF8, &buffers, validity.as_ref());
        let views = from.copied(Some(len), |views| check.add(views))?;
        check.finish()?;
        (Buffer::from(views), buffers.into_iter().map(|buffer| Buffer::from(buffer.bytes)).collect())
    };
    // SAFETY: from a worker, the views and buffers are private copies that `ViewCheck` accepted. From the parent, which
    // is trusted, they are those of a valid array of this type.
    let array = unsafe { BinaryViewArrayGeneric::<T>::new_unchecked_unknown_md(dtype, views, buffers, validity, None) };
    Ok(Box::new(array))
}

/// A received buffer, and what is known of its contents.
struct ReceivedBuffer {
    bytes: Vec<u8>,
    kind: TextKind,
}

#[derive(Clone, Copy)]
enum TextKind {
    /// All ASCII, or the array is not text.
    Plain,
    Text,
    /// Not UTF-8 as a whole, but some of it may be.
    Mixed,
}

impl ReceivedBuffer {
    fn new(bytes: Vec<u8>, plain: bool) -> Self {
        let kind = match plain {
            true => TextKind::Plain,
            false if std::str::from_utf8(&bytes).is_ok() => TextKind::Text,
            false => TextKind::Mixed,
        };
        Self { bytes, kind }
    }
}

/// Checks that all views lie within the buffers, and that views of texts are UTF-8. Views of null rows become empty.
///
/// The time is linear in the bytes of views and buffers, however much the views overlap, except for the sort at the
/// end.
struct ViewCheck<'a> {
    text: bool,
    buffers: &'a [ReceivedBuffer],
    validity: Option<&'a Bitmap>,
    row: usize,
    /// Buffer, start and end of the views of texts in buffers that are not UTF-8 as a whole.
    unchecked: Vec<(usize, usize, usize)>,
}

impl<'a> ViewCheck<'a> {
    fn new(text: bool, buffers: &'a [ReceivedBuffer], validity: Option<&'a Bitmap>) -> Self {
        Self { text, buffers, validity, row: 0, unchecked: Vec::new() }
    }

    /// Checks the next views.
    fn add(&mut self, views: &mut [View]) -> Result<(), CodecError> {
        if let Some(validity) = self.validity {
            for (row, view) in (self.row..).zip(&mut *views) {
                if !validity.get_bit(row) {
                    *view = View::default();
                }
            }
            self.row += views.len();
        }
        views
            .iter()
            .try_for_each(|view| if view.is_inline() { self.check_inline(*view) } else { self.check_long(*view) })
    }

    fn check_inline(&self, view: View) -> Result<(), CodecError> {
        // The lowest 4 bytes are the length, the 12 bytes above it the value.
        let bits = u128::from_le_bytes(view.as_u128().to_ne_bytes());
        // Polars compares inline values with the zeros behind them.
        if bits.checked_shr(32 + 8 * view.length).unwrap_or(0) != 0 {
            return Err(missing());
        }
        let ascii = bits & (0x8080_8080_8080_8080_8080_8080 << 32) == 0;
        if self.text && !ascii && std::str::from_utf8(&bits.to_le_bytes()[4..4 + view.length as usize]).is_err() {
            return Err(no_text());
        }
        Ok(())
    }

    fn check_long(&mut self, view: View) -> Result<(), CodecError> {
        let (number, start) = (view.buffer_idx as usize, view.offset as usize);
        let end = start.checked_add(view.length as usize).ok_or_else(missing)?;
        let buffer = self.buffers.get(number).ok_or_else(missing)?;
        let found = buffer.bytes.get(start..end).ok_or_else(missing)?;
        // Polars compares the first 4 bytes of a value in the view.
        if found.first_chunk().is_none_or(|prefix| u32::from_le_bytes(*prefix) != view.prefix) {
            return Err(missing());
        }
        let continues = |place: usize| buffer.bytes.get(place).is_some_and(|byte| byte & 0xc0 == 0x80);
        match buffer.kind {
            TextKind::Text if continues(start) || continues(end) => return Err(no_text()),
            TextKind::Plain | TextKind::Text => {}
            TextKind::Mixed => self.unchecked.push((number, start, end)),
        }
        Ok(())
    }

    /// Checks that the remaining views are UTF-8. Each byte is validated once, however much the views overlap: if the
    /// bytes from one offset on are UTF-8, so are those from any later character boundary.
    fn finish(self) -> Result<(), CodecError> {
        let mut places = self.unchecked;
        places.sort_unstable();
        // The last run of UTF-8: buffer, start and text.
        let mut last: Option<(usize, usize, &str)> = None;
        for (number, start, end) in places {
            let known = last.filter(|(of, begin, text)| *of == number && start < begin + text.len());
            let (_, begin, text) = match known {
                Some(known) => known,
                None => {
                    let rest = &self.buffers[number].bytes[start..];
                    let text = rest.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                    *last.insert((number, start, text))
                }
            };
            if text.get(start - begin..end - begin).is_none() {
                return Err(no_text());
            }
        }
        Ok(())
    }
}

fn no_text() -> CodecError {
    CodecError::new("a text is not UTF-8")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks views of texts without nulls.
    pub(in crate::process) fn check(views: &[View], buffers: &[Vec<u8>]) -> Result<(), CodecError> {
        let buffers: Vec<ReceivedBuffer> =
            buffers.iter().map(|bytes| ReceivedBuffer::new(bytes.clone(), bytes.is_ascii())).collect();
        let mut check = ViewCheck::new(true, &buffers, None);
        check.add(&mut views.to_vec())?;
        check.finish()
    }

    fn view(bytes: &[u8], buffer: u32, offset: u32) -> View {
        View::new_from_bytes(bytes, buffer, offset)
    }

    #[test]
    fn views_that_are_not_utf8_are_refused() {
        let text = "many letters: äöü, and more of them".as_bytes().to_vec();
        let broken = [b"before the break", &[0xc3][..], "after the bräak it goes on".as_bytes()].concat();
        let buffers = [text.clone(), broken.clone()];
        let good = [view(&text, 0, 0), view(&text[1..14], 0, 1), view(b"short", 0, 0), view("ä".as_bytes(), 0, 0)];
        check(&good, &buffers).expect("all is text");
        let around = [view(&broken[17..], 1, 17), view(&broken[..16], 1, 0), view(&broken[3..16], 1, 3)];
        check(&around, &buffers).expect("all is text");
        let bad = [
            view(&text[..15], 0, 0),
            view(&text[15..], 0, 15),
            view(&broken, 1, 0),
            view(&broken[..17], 1, 0),
            view(&broken[16..], 1, 16),
            view(&broken[17..30], 1, 17),
            view(&[0xff], 0, 0),
            view(&text, 2, 0),
            view(&text, 0, 1),
            view(&text, 0, u32::MAX),
            View { prefix: 7, ..view(&text, 0, 0) },
            View { offset: 1 << 24, ..view(b"short", 0, 0) },
        ];
        for (number, view) in bad.into_iter().enumerate() {
            let views = [good[0], around[0], view, around[1]];
            assert!(check(&views, &buffers).is_err(), "view {number}");
        }
    }

    #[test]
    fn views_of_null_rows_become_empty() {
        let mut views = [view(b"a text that is not in its view", 9, 9), view(b"short", 0, 0)];
        let validity = Bitmap::from_iter([false, true]);
        ViewCheck::new(true, &[], Some(&validity)).add(&mut views).expect("the other one is text");
        assert_eq!((views[0].as_u128(), views[1].length), (0, 5));
    }
}
