//! Arrays of texts and bytes: 16 bytes a value (a view), which hold a short value, or say where a long one lies.
//!
//! A slice of a column keeps all of the column's buffers. So what goes to another process is what the views of the array
//! use: a buffer of which they use at least half goes as it is, and of the others only the bytes that are used go. The
//! bytes are copied once, into the block.
//!
//! The parent of a worker checks views and bytes, in a copy that the worker cannot reach ([`ReceivedBuffers`]).

use polars_arrow::array::{Array, BinaryViewArrayGeneric, View, ViewType};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::{Buffer, SharedStorage};

use super::arrays::{is, read_validity, write_validity};
use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use crate::process::codec::{CodecError, Decoder, Encoder};

/// Bytes of a buffer at most: Arrow's offsets in it are `i32`.
const LONGEST_BUFFER: usize = i32::MAX as usize;

pub(super) fn write<'a, T: ViewType + ?Sized>(
    array: &'a dyn Array,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    let array: &BinaryViewArrayGeneric<T> = is(array)?;
    write_validity(array.validity(), buffers, out)?;
    let (views, data) = (array.views().as_slice(), array.data_buffers().as_slice());
    let packed = match array.validity() {
        None => Packed::new(views, data, |_| true, LONGEST_BUFFER),
        Some(validity) => Packed::new(views, data, |row| validity.get_bit(row), LONGEST_BUFFER),
    };
    let Some(packed) = packed else {
        out.value(&data.len())?;
        data.iter().for_each(|buffer| buffers.add(buffer.as_slice()));
        buffers.add_values(views);
        return Ok(());
    };
    out.value(&packed.buffers.len())?;
    packed.buffers.into_iter().for_each(|runs| buffers.add_runs(runs));
    buffers.add_own(SharedStorage::bytes_from_pod_vec(packed.views));
    Ok(())
}

/// What an array uses of its buffers.
struct Packed<'a> {
    views: Vec<View>,
    /// The bytes of each buffer, in runs.
    buffers: Vec<Vec<&'a [u8]>>,
}

impl<'a> Packed<'a> {
    /// Nothing if all buffers are to go as they are. `is_valid` says of a row whether it is not null: what views of nulls
    /// refer to does not go.
    fn new(
        views: &[View],
        buffers: &'a [Buffer<u8>],
        is_valid: impl Fn(usize) -> bool,
        longest: usize,
    ) -> Option<Self> {
        if buffers.is_empty() {
            return None;
        }
        let far = || views.iter().enumerate().filter(|(row, view)| !view.is_inline() && is_valid(*row));
        // Most slices use few of the buffers, which are beside each other.
        let (mut first, mut last) = (u32::MAX, 0);
        for (_, view) in far() {
            first = first.min(view.buffer_idx);
            last = last.max(view.buffer_idx);
        }
        let near = buffers.get(first as usize..=last as usize).unwrap_or_default();
        let mut used = vec![0_usize; near.len()];
        for (_, view) in far() {
            used[(view.buffer_idx - first) as usize] += view.length as usize;
        }
        let is_kept = |(buffer, used): (&Buffer<u8>, &usize)| *used > 0 && *used >= buffer.len() / 2;
        let kept: Vec<bool> = near.iter().zip(&used).map(is_kept).collect();
        if near.len() == buffers.len() && kept.iter().all(|kept| *kept) {
            return None;
        }
        let mut packer = Packer { longest, first, near, ..Packer::default() };
        for (buffer, kept) in near.iter().zip(kept) {
            packer.numbers.push(kept.then(|| packer.next_number()));
            if kept {
                packer.buffers.push(vec![buffer.as_slice()]);
            }
        }
        packer.buffers.push(Vec::new());
        let rewritten = |(row, view): (usize, &View)| match view.is_inline() {
            _ if !is_valid(row) => View::default(),
            true => *view,
            false => packer.add(*view),
        };
        let views = views.iter().enumerate().map(rewritten).collect();
        Some(Self { views, buffers: packer.finish() })
    }
}

/// Puts the bytes that views refer to behind each other. Views that follow each other refer mostly to bytes that follow
/// each other, and these stay one run.
#[derive(Default)]
struct Packer<'a> {
    longest: usize,
    /// The number of the first one of the buffers that views refer to.
    first: u32,
    near: &'a [Buffer<u8>],
    /// The new number of each of them that goes as it is.
    numbers: Vec<Option<u32>>,
    /// The new buffers; the last one is being filled, and the last run is not in it yet.
    buffers: Vec<Vec<&'a [u8]>>,
    /// Bytes in the last buffer, without the last run.
    len: usize,
    run: Run,
}

/// Bytes of one buffer, without a gap.
#[derive(Default)]
struct Run {
    /// The number of the buffer, and where they are in it.
    from: u32,
    start: usize,
    end: usize,
    /// Where they must end, as the new buffer can be so long at most.
    limit: usize,
    /// The number of the new buffer, and what is to be added (wrapping) to a place in the old one.
    number: u32,
    shift: u32,
}

impl<'a> Packer<'a> {
    fn next_number(&self) -> u32 {
        // Each new buffer has bytes of other views, whose buffers have numbers of 32 bits themselves.
        u32::try_from(self.buffers.len()).unwrap_or(u32::MAX)
    }

    /// The view as it is said in the new buffers.
    fn add(&mut self, view: View) -> View {
        let start = view.offset as usize;
        let end = start + view.length as usize;
        let run = &mut self.run;
        if view.buffer_idx == run.from && run.start <= start && start <= run.end && end <= run.limit {
            run.end = run.end.max(end);
        } else if let Some(number) = self.numbers[(view.buffer_idx - self.first) as usize] {
            return View { buffer_idx: number, ..view };
        } else {
            self.begin_run(view.buffer_idx, start, end);
        }
        View { buffer_idx: self.run.number, offset: view.offset.wrapping_add(self.run.shift), ..view }
    }

    fn begin_run(&mut self, from: u32, start: usize, end: usize) {
        self.end_run();
        if self.len > 0 && end - start > self.longest.saturating_sub(self.len) {
            self.buffers.push(Vec::new());
            self.len = 0;
        }
        let limit = end.max(start + self.longest.saturating_sub(self.len));
        let place = u32::try_from(self.len).unwrap_or(u32::MAX);
        // It begins at an offset of a view.
        let shift = place.wrapping_sub(u32::try_from(start).unwrap_or(u32::MAX));
        self.run = Run { from, start, end, limit, number: self.next_number() - 1, shift };
    }

    fn end_run(&mut self) {
        let Run { from, start, end, .. } = std::mem::take(&mut self.run);
        if let Some(last) = self.buffers.last_mut().filter(|_| start < end) {
            last.push(&self.near[(from - self.first) as usize].as_slice()[start..end]);
            self.len += end - start;
        }
    }

    fn finish(mut self) -> Vec<Vec<&'a [u8]>> {
        self.end_run();
        self.buffers.pop_if(|last| last.is_empty());
        self.buffers
    }
}

pub(super) fn read<T: ViewType + ?Sized>(
    dtype: ArrowDataType,
    len: usize,
    received: &mut ReceivedBuffers,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, CodecError> {
    let validity = read_validity(received, input, len)?;
    let count: usize = input.value()?;
    let (views, buffers) = if received.is_trusted() {
        let buffers = (0..count).map(|_| received.own_buffer(None)).collect::<Result<Buffer<_>, _>>()?;
        (received.own_buffer(Some(len))?, buffers)
    } else {
        let buffers = (0..count).map(|_| Checked::read(received, T::IS_UTF8)).collect::<Result<Vec<_>, _>>()?;
        let mut check = Check::new(T::IS_UTF8, &buffers, validity.as_ref());
        let views = received.copied(Some(len), |views| check.add(views))?;
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
    fn read(received: &mut ReceivedBuffers, text: bool) -> Result<Self, CodecError> {
        let mut plain = true;
        let bytes = received.copied(None, |block: &mut [u8]| {
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
    fn add(&mut self, views: &mut [View]) -> Result<(), CodecError> {
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

    fn inline(&self, view: View) -> Result<(), CodecError> {
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

    fn far(&mut self, view: View) -> Result<(), CodecError> {
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
    fn finish(self) -> Result<(), CodecError> {
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

fn no_text() -> CodecError {
    CodecError::new("a text is not UTF-8")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks texts without nulls.
    pub(in crate::process) fn check(views: &[View], buffers: &[Vec<u8>]) -> Result<(), CodecError> {
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

    /// What views say, of rows that are not null.
    fn texts(views: &[View], buffers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        // SAFETY: the views are of these buffers.
        views.iter().map(|view| unsafe { view.get_slice_unchecked(buffers) }.to_vec()).collect()
    }

    #[test]
    fn packed_views_say_the_same() {
        let buffers: Vec<Vec<u8>> = (0..4_u8).map(|buffer| (0..200).map(|byte| byte ^ buffer).collect()).collect();
        let places = [(3, 10, 20), (1, 0, 150), (3, 30, 20), (3, 35, 25), (3, 15, 13), (1, 100, 100), (3, 90, 13)];
        let views: Vec<View> = places
            .iter()
            .map(|&(buffer, start, len): &(u32, u32, usize)| {
                view(&buffers[buffer as usize][start as usize..][..len], buffer, start)
            })
            .chain([view(b"short", 0, 0)])
            .collect();
        let shared: Vec<Buffer<u8>> = buffers.iter().cloned().map(Buffer::from).collect();
        for longest in [30, 55, 70, 1_000] {
            let packed = Packed::new(&views, &shared, |_| true, longest).expect("there is something to leave out");
            let lens: Vec<usize> = packed.buffers.iter().map(|runs| runs.concat().len()).collect();
            // One goes as it is, and of another the bytes that are used: all once, if there is room beside each other.
            let used = if longest == 30 { 76 } else { 63 };
            assert_eq!((lens[0], lens[1..].iter().sum::<usize>()), (200, used));
            assert!(lens[1..].iter().all(|len| *len <= longest), "{lens:?}");
            let received: Vec<Vec<u8>> = packed.buffers.iter().map(|runs| runs.concat()).collect();
            assert_eq!(texts(&packed.views, &received), texts(&views, &buffers));
        }
    }
}
