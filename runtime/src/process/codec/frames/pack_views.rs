//! [`PackedViews`]: the views of an array, with the bytes that they use and no others.

use polars_arrow::array::View;
use polars_buffer::Buffer;

/// The views and buffers of an array without the bytes that it does not use.
pub(super) struct PackedViews<'a> {
    pub(super) views: Vec<View>,
    /// The bytes of each buffer, in runs.
    pub(super) buffers: Vec<Vec<&'a [u8]>>,
}

impl<'a> PackedViews<'a> {
    /// `None` if all buffers are sent whole. `is_valid` says whether a row is not null: bytes of null rows are not
    /// sent.
    pub(super) fn new(
        views: &[View],
        buffers: &'a [Buffer<u8>],
        is_valid: impl Fn(usize) -> bool,
        longest: usize,
    ) -> Option<Self> {
        if buffers.is_empty() {
            return None;
        }
        let long = || views.iter().enumerate().filter(|(row, view)| !view.is_inline() && is_valid(*row));
        // Most slices use few of the buffers, and these are neighbours.
        let (mut first, mut last) = (u32::MAX, 0);
        for (_, view) in long() {
            first = first.min(view.buffer_idx);
            last = last.max(view.buffer_idx);
        }
        let in_range = buffers.get(first as usize..=last as usize).unwrap_or_default();
        let mut used = vec![0_usize; in_range.len()];
        for (_, view) in long() {
            used[(view.buffer_idx - first) as usize] += view.length as usize;
        }
        let is_kept = |(buffer, used): (&Buffer<u8>, &usize)| *used > 0 && *used >= buffer.len() / 2;
        let kept: Vec<bool> = in_range.iter().zip(&used).map(is_kept).collect();
        if in_range.len() == buffers.len() && kept.iter().all(|kept| *kept) {
            return None;
        }
        let mut packer = ViewPacker { longest, first, in_range, ..ViewPacker::default() };
        for (buffer, kept) in in_range.iter().zip(kept) {
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

/// Joins the bytes that views refer to. Neighbouring views mostly refer to neighbouring bytes, which stay one run.
#[derive(Default)]
struct ViewPacker<'a> {
    longest: usize,
    /// The number of the first buffer that views refer to.
    first: u32,
    in_range: &'a [Buffer<u8>],
    /// The new number of each buffer that is sent whole.
    numbers: Vec<Option<u32>>,
    /// The new buffers. The last one is being filled, without the current run.
    buffers: Vec<Vec<&'a [u8]>>,
    /// Bytes in the last buffer, without the current run.
    len: usize,
    run: ByteRun,
}

/// Consecutive bytes of one buffer.
#[derive(Default)]
struct ByteRun {
    /// The number of the buffer, and the run's offsets in it.
    from: u32,
    start: usize,
    end: usize,
    /// The offset at which the run must end, because the new buffer may not be longer.
    limit: usize,
    /// The number of the new buffer, and the wrapping difference of an offset in it and in the old one.
    number: u32,
    shift: u32,
}

impl<'a> ViewPacker<'a> {
    fn next_number(&self) -> u32 {
        // There are at most as many new buffers as views with old buffers, whose numbers have 32 bits.
        u32::try_from(self.buffers.len()).unwrap_or(u32::MAX)
    }

    /// Adds the bytes of a view; returns the view with its new buffer and offset.
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
        // `start` is the offset of a view, which has 32 bits.
        let shift = place.wrapping_sub(u32::try_from(start).unwrap_or(u32::MAX));
        self.run = ByteRun { from, start, end, limit, number: self.next_number() - 1, shift };
    }

    fn end_run(&mut self) {
        let ByteRun { from, start, end, .. } = std::mem::take(&mut self.run);
        if let Some(last) = self.buffers.last_mut().filter(|_| start < end) {
            last.push(&self.in_range[(from - self.first) as usize].as_slice()[start..end]);
            self.len += end - start;
        }
    }

    fn finish(mut self) -> Vec<Vec<&'a [u8]>> {
        self.end_run();
        self.buffers.pop_if(|last| last.is_empty());
        self.buffers
    }
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
            let packed = PackedViews::new(&views, &shared, |_| true, longest).expect("there is something to leave out");
            let lens: Vec<usize> = packed.buffers.iter().map(|runs| runs.concat().len()).collect();
            // One buffer is sent whole. Of another, the used bytes are sent, each once if they fit in one new buffer.
            let used = if longest == 30 { 76 } else { 63 };
            assert_eq!((lens[0], lens[1..].iter().sum::<usize>()), (200, used));
            assert!(lens[1..].iter().all(|len| *len <= longest), "{lens:?}");
            let received: Vec<Vec<u8>> = packed.buffers.iter().map(|runs| runs.concat()).collect();
            assert_eq!(texts(&packed.views, &received), texts(&views, &buffers));
        }
    }
}
