//! Arrays of texts and bytes: 16 bytes a value (a view), which hold a short value, or say where a long one lies.
//!
//! The parent of a worker checks views and bytes, in a copy that the worker cannot reach ([`Came`]).

use polars_arrow::array::{Array, BinaryViewArrayGeneric, View, ViewType};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::super::wire::{Decoder, Encoder, Misfit};
use super::arrays::{is, read_validity, write_validity};
use super::parts::{Came, Parts, missing};

pub(super) fn write<'a, T: ViewType + ?Sized>(
    array: &'a dyn Array,
    parts: &mut Parts<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), Misfit> {
    let array: &BinaryViewArrayGeneric<T> = is(array)?;
    write_validity(array.validity(), parts, out)?;
    out.value(&array.data_buffers().len())?;
    array.data_buffers().iter().for_each(|buffer| parts.add(buffer.as_slice()));
    parts.add_values(array.views().as_slice());
    Ok(())
}

pub(super) fn read<T: ViewType + ?Sized>(
    dtype: ArrowDataType,
    len: usize,
    came: &mut Came,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, Misfit> {
    let validity = read_validity(came, input, len)?;
    let count: usize = input.value()?;
    let (views, buffers) = if came.is_trusted() {
        let buffers = (0..count).map(|_| came.own_buffer(None)).collect::<Result<Buffer<_>, _>>()?;
        (came.own_buffer(Some(len))?, buffers)
    } else {
        let buffers = (0..count).map(|_| Checked::read(came, T::IS_UTF8)).collect::<Result<Vec<_>, _>>()?;
        let mut check = Check::new(T::IS_UTF8, &buffers, validity.as_ref());
        let views = came.copied(Some(len), |views| check.add(views))?;
        check.finish()?;
        (Buffer::from(views), buffers.into_iter().map(|buffer| Buffer::from(buffer.bytes)).collect())
    };
    // SAFETY: views and buffers are a copy that was checked, which the sender cannot reach; or they come from the
    // parent, which has them in an array of this type.
    let array = unsafe { BinaryViewArrayGeneric::<T>::new_unchecked_unknown_md(dtype, views, buffers, validity, None) };
    Ok(Box::new(array))
}

/// A buffer, and what it is.
struct Checked {
    bytes: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Any bytes will do, or all are ASCII.
    Plain,
    Text,
    /// Some of it may be text.
    Mixed,
}

impl Checked {
    /// The next buffer, for texts or for bytes.
    fn read(came: &mut Came, text: bool) -> Result<Self, Misfit> {
        let mut plain = true;
        let bytes = came.copied(None, |block: &mut [u8]| {
            plain = plain && (!text || block.is_ascii());
            Ok(())
        })?;
        Ok(Self::new(bytes, plain))
    }

    fn new(bytes: Vec<u8>, plain: bool) -> Self {
        let kind = match plain {
            true => Kind::Plain,
            false if std::str::from_utf8(&bytes).is_ok() => Kind::Text,
            false => Kind::Mixed,
        };
        Self { bytes, kind }
    }
}

/// Whether all views lie within the buffers, and are text if the buffers' kinds ask for it. Views of rows that are null
/// become empty.
///
/// However much views overlap, the time is linear in the bytes of views and buffers, but for the sorting at the end.
struct Check<'a> {
    text: bool,
    buffers: &'a [Checked],
    validity: Option<&'a Bitmap>,
    row: usize,
    /// Buffer, start and end of what may be text, although its buffer is not all text.
    doubtful: Vec<(usize, usize, usize)>,
}

impl<'a> Check<'a> {
    fn new(text: bool, buffers: &'a [Checked], validity: Option<&'a Bitmap>) -> Self {
        Self { text, buffers, validity, row: 0, doubtful: Vec::new() }
    }

    /// Checks the next views.
    fn add(&mut self, views: &mut [View]) -> Result<(), Misfit> {
        if let Some(validity) = self.validity {
            for (row, view) in (self.row..).zip(&mut *views) {
                if !validity.get_bit(row) {
                    *view = View::default();
                }
            }
            self.row += views.len();
        }
        views.iter().try_for_each(|view| if view.is_inline() { self.inline(*view) } else { self.far(*view) })
    }

    fn inline(&self, view: View) -> Result<(), Misfit> {
        // The length, and behind it the bytes, the first one lowest.
        let bits = u128::from_le_bytes(view.as_u128().to_ne_bytes());
        // Behind the bytes there are zeros, which Polars compares with the bytes.
        if bits.checked_shr(32 + 8 * view.length).unwrap_or(0) != 0 {
            return Err(missing());
        }
        let ascii = bits & (0x8080_8080_8080_8080_8080_8080 << 32) == 0;
        if self.text && !ascii && std::str::from_utf8(&bits.to_le_bytes()[4..4 + view.length as usize]).is_err() {
            return Err(no_text());
        }
        Ok(())
    }

    fn far(&mut self, view: View) -> Result<(), Misfit> {
        let (number, start) = (view.buffer_idx as usize, view.offset as usize);
        let end = start.checked_add(view.length as usize).ok_or_else(missing)?;
        let buffer = self.buffers.get(number).ok_or_else(missing)?;
        let found = buffer.bytes.get(start..end).ok_or_else(missing)?;
        // Polars compares the copy of the first bytes in the view.
        if found.first_chunk().is_none_or(|prefix| u32::from_le_bytes(*prefix) != view.prefix) {
            return Err(missing());
        }
        let continues = |place: usize| buffer.bytes.get(place).is_some_and(|byte| byte & 0xc0 == 0x80);
        match buffer.kind {
            Kind::Text if continues(start) || continues(end) => return Err(no_text()),
            Kind::Plain | Kind::Text => {}
            Kind::Mixed => self.doubtful.push((number, start, end)),
        }
        Ok(())
    }

    /// Whether the doubtful places are text. No byte is looked at twice, however they overlap: text that begins at a
    /// start is text from any other start within it that is a boundary of characters.
    fn finish(self) -> Result<(), Misfit> {
        let mut places = self.doubtful;
        places.sort_unstable();
        // The last text that was found: buffer and start.
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

fn no_text() -> Misfit {
    Misfit::new("a text is not UTF-8")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks texts without nulls.
    pub(in super::super) fn check(views: &[View], buffers: &[Vec<u8>]) -> Result<(), Misfit> {
        let buffers: Vec<Checked> = buffers.iter().map(|bytes| Checked::new(bytes.clone(), bytes.is_ascii())).collect();
        let mut check = Check::new(true, &buffers, None);
        check.add(&mut views.to_vec())?;
        check.finish()
    }

    fn view(bytes: &[u8], buffer: u32, offset: u32) -> View {
        View::new_from_bytes(bytes, buffer, offset)
    }

    #[test]
    fn views_that_are_not_text_are_refused() {
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
    fn views_of_nulls_may_say_anything_and_become_empty() {
        let mut views = [view(b"a text that is not in its view", 9, 9), view(b"short", 0, 0)];
        let validity = Bitmap::from_iter([false, true]);
        Check::new(true, &[], Some(&validity)).add(&mut views).expect("the other one is text");
        assert_eq!((views[0].as_u128(), views[1].length), (0, 5));
    }
}
