//! [`PackedViews`]: the views of an array, with the bytes that they use and few others.

use std::ops::Range;

use polars_arrow::array::View;
use polars_arrow::bitmap::Bitmap;
use polars_buffer::Buffer;

/// The views of an array, and what they use of its buffers: of each buffer the bytes from the first to the last that
/// they use, as a slice of a column uses, or a copy of the used bytes if these are fewer than half.
pub(super) struct PackedViews {
    pub(super) views: Buffer<View>,
    pub(super) buffers: Vec<Buffer<u8>>,
}

impl PackedViews {
    /// Bytes of null rows are not used. A copy is split into buffers of at most `longest` bytes.
    pub(super) fn new(views: &Buffer<View>, buffers: &[Buffer<u8>], validity: Option<&Bitmap>, longest: usize) -> Self {
        let is_valid = |row| validity.is_none_or(|validity| validity.get_bit(row));
        let mut ranges = vec![0..0; buffers.len()];
        let mut used = 0;
        for (_, view) in views.iter().enumerate().filter(|(row, view)| !view.is_inline() && is_valid(*row)) {
            let (range, place) = (&mut ranges[view.buffer_idx as usize], range_of(view));
            used += place.len();
            let start = if range.end == 0 { place.start } else { range.start.min(place.start) };
            *range = start..range.end.max(place.end);
        }
        if ranges.iter().zip(buffers).all(|(range, buffer)| *range == (0..buffer.len())) {
            return Self { views: views.clone(), buffers: buffers.to_vec() };
        }
        let is_sparse = used < ranges.iter().map(Range::len).sum::<usize>() / 2;
        let mut copies = vec![Vec::new()];
        let mut long = |view: &View| {
            let from = view.buffer_idx as usize;
            if !is_sparse {
                return View { offset: view.offset - word(ranges[from].start), ..*view };
            }
            let bytes = &buffers[from][range_of(view)];
            if copies.last().is_some_and(|copy| copy.len() + bytes.len() > longest) {
                copies.push(Vec::new());
            }
            let number = copies.len() - 1;
            let offset = copies[number].len();
            copies[number].extend_from_slice(bytes);
            View { buffer_idx: word(number), offset: word(offset), ..*view }
        };
        let views = views.iter().enumerate().map(|(row, view)| match view.is_inline() {
            _ if !is_valid(row) => View::default(),
            true => *view,
            false => long(view),
        });
        let views = views.collect();
        let slices = ranges.into_iter().zip(buffers).map(|(range, buffer)| buffer.clone().sliced(range));
        let buffers = if is_sparse { copies.into_iter().map(Buffer::from).collect() } else { slices.collect() };
        Self { views, buffers }
    }
}

/// The number of a buffer or an offset in one. Both are at most those of views, which have 32 bits.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Where a long value lies in its buffer.
fn range_of(view: &View) -> Range<usize> {
    let start = view.offset as usize;
    start..start + view.length as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bytes: &[u8], buffer: u32, offset: u32) -> View {
        View::new_from_bytes(bytes, buffer, offset)
    }

    /// The values of views, of rows that are not null.
    fn texts(views: &[View], buffers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        // SAFETY: the tests make the views for these buffers.
        views.iter().map(|view| unsafe { view.get_slice_unchecked(buffers) }.to_vec()).collect()
    }

    #[test]
    fn packed_views_have_the_same_values() {
        let buffers: Vec<Vec<u8>> = (0..4_u8).map(|buffer| (0..200).map(|byte| byte ^ buffer).collect()).collect();
        let shared: Vec<Buffer<u8>> = buffers.iter().cloned().map(Buffer::from).collect();
        let check = |places: &[(u32, u32, usize)], longest, lens: &[usize]| {
            let long = places
                .iter()
                .map(|&(buffer, start, len)| view(&buffers[buffer as usize][start as usize..][..len], buffer, start));
            let views: Buffer<View> = long.chain([view(b"short", 0, 0)]).collect();
            let packed = PackedViews::new(&views, &shared, None, longest);
            let received: Vec<Vec<u8>> = packed.buffers.iter().map(|buffer| buffer.as_slice().to_vec()).collect();
            assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), lens);
            assert_eq!(texts(&packed.views, &received), texts(&views, &buffers));
        };
        check(&[(3, 10, 20), (1, 0, 150), (3, 35, 25), (1, 100, 100), (3, 90, 13)], 1_000, &[0, 200, 0, 93]);
        check(&[(0, 0, 200), (1, 0, 200), (2, 0, 200), (3, 0, 200)], 1_000, &[200; 4]);
        // The views use fewer than half of the bytes between their first and their last.
        check(&[(3, 10, 20), (1, 0, 30), (3, 150, 25), (1, 160, 15)], 1_000, &[90]);
        check(&[(3, 10, 20), (1, 0, 30), (3, 150, 25), (1, 160, 15)], 50, &[50, 40]);
    }
}
