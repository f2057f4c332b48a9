//! Tests of received columns: attachments that change while they are read, wrong descriptions, and the bytes that are
//! sent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use polars::prelude::*;

use super::*;
use crate::process::codec::{Attachment, ReceivedAttachment};
use crate::process::os::Mapping;
use crate::process::transport::segments::{Inbox, Outbox};

/// A worker's outbox, its parent's inbox, and the worker's mapping of the segment between them.
#[derive(Default)]
struct SharedPair {
    outbox: Outbox,
    inbox: Inbox,
    /// The worker's mapping of the one segment.
    memory: Option<Mapping>,
    /// Bytes of the block in the segment.
    len: u64,
}

impl SharedPair {
    /// Writes a frame as a worker does; returns the message and the attachment as the parent receives them.
    fn write(&mut self, df: &DataFrame) -> (Vec<u8>, Vec<ReceivedAttachment>) {
        let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
        let mut out = Encoder::new(&mut bytes, &mut attachments, Some(&mut self.outbox));
        Direct::write(df, &mut out).expect("it can be written");
        let [Attachment::Segment(sent)] = attachments[..] else { panic!("it is one block") };
        self.len = sent.len;
        if let Some(fd) = self.outbox.take_descriptor(sent.segment) {
            self.inbox.add_segment(sent.segment, &fd).expect("a segment");
            self.memory = Some(Mapping::new(&fd).expect("a segment"));
        }
        (bytes, vec![ReceivedAttachment::Segment(self.inbox.open(sent).expect("it was sent"))])
    }

    /// A word of the block, as a compromised worker reaches it.
    fn word(&self, random: u64) -> &AtomicU64 {
        let memory = self.memory.as_ref().expect("something was sent");
        // The first 8 words hold the state of the segment.
        let place = usize::try_from(8 + random % (self.len / 8)).expect("64 bits");
        // SAFETY: the index is within the mapping, which is aligned to a page and lives as long as `self`. Readers rely
        // on no value of the word: this is what the tests check.
        unsafe { AtomicU64::from_ptr(memory.start().cast::<u64>().add(place).as_ptr()) }
    }
}

fn bad_word(random: &mut Rng) -> u64 {
    [random.u64(..), 0, u64::MAX, random.u64(..) >> 40, 0x8080_8080_8080_8080][random.usize(..5)]
}

fn read(message: (Vec<u8>, Vec<ReceivedAttachment>)) -> Result<DataFrame, CodecError> {
    <DataFrame as Direct>::read(&mut Decoder::new(&message.0, message.1))
}

/// Columns of every kind that must not change, and a column of numbers, which may.
fn checked() -> PolarsResult<DataFrame> {
    let rows = 0..1_500_usize;
    let words: Vec<Option<String>> =
        rows.clone().map(|row| (row % 5 != 0).then(|| "ä text ".repeat(row % 4))).collect();
    let texts = Series::new("text".into(), words);
    let names: Vec<String> = rows.clone().map(|row| format!("name {}", row % 100)).collect();
    let names = Series::new("name".into(), names).cast(&DataType::from_categories(Categories::global()))?;
    let lists: Vec<Series> = (0..1_500_i64).zip(rows.clone()).map(|(start, row)| texts.slice(start, row % 3)).collect();
    let flags: Vec<Option<bool>> = rows.clone().map(|row| (row % 7 != 0).then_some(row % 2 == 0)).collect();
    let columns = vec![
        texts.clone().into(),
        texts.cast(&DataType::Binary)?.with_name("bytes".into()).into(),
        texts.cast(&DataType::Binary)?.cast(&DataType::BinaryOffset)?.with_name("offsets".into()).into(),
        names.into(),
        Column::new("list".into(), lists),
        Column::new("flag".into(), flags),
        Column::new("n".into(), (0..1_500_i64).collect::<Vec<_>>()),
    ];
    DataFrame::new(rows.len(), columns)
}

#[test]
fn a_read_frame_does_not_change_when_its_segment_does() -> PolarsResult<()> {
    let df = checked()?;
    let mut pair = SharedPair::default();
    let message = pair.write(&df);
    let back = read(message).expect("nothing was spoilt");
    assert!(back.equals_missing(&df));
    let mut random = Rng::with_seed(1);
    for _ in 0..200_000 {
        pair.word(random.u64(..)).store(bad_word(&mut random), Ordering::Relaxed);
    }
    let checked = back.drop("n")?;
    assert!(checked.equals_missing(&df.drop("n")?));
    for column in checked.columns() {
        assert_eq!(u32::try_from(column.null_count()).ok(), column.is_null().sum());
    }
    assert!(!back.column("n")?.equals_missing(df.column("n")?), "numbers lie in the block");
    Ok(())
}

/// Sets the flag when it is dropped, also after a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that all values are the same when they are read again, and that texts are UTF-8.
fn is_stable(df: &DataFrame) {
    let print = || {
        let columns = df.columns().iter();
        columns.flat_map(|column| (0..df.height()).map(|row| column.get(row).expect("a row").to_string()))
    };
    let printed: Vec<String> = print().collect();
    assert!(print().eq(printed), "it changed after it was read");
    for text in df.column("text").expect("it is there").str().expect("texts").iter().flatten() {
        assert!(std::str::from_utf8(std::hint::black_box(text.as_bytes())).is_ok());
    }
}

#[test]
fn a_segment_that_changes_while_it_is_read_is_refused_or_read_consistently() -> PolarsResult<()> {
    const ROUNDS: u64 = 60;
    let df = checked()?;
    let mut pair = SharedPair::default();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let message = pair.write(&df);
        let mut random = Rng::with_seed(round);
        let (word, bad) = (pair.word(random.u64(..)), bad_word(&mut random));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Alternates, so that a check may see the good word and a later read the bad one.
                let good = word.load(Ordering::Relaxed);
                while !done.load(Ordering::Relaxed) {
                    word.store(bad, Ordering::Relaxed);
                    word.store(good, Ordering::Relaxed);
                }
            });
            let _done = Done(&done);
            // Polars may panic on invalid Arrow data. Callers catch panics when they read a result.
            if let Ok(Ok(read)) = catch_unwind(AssertUnwindSafe(|| read(message))) {
                is_stable(&read.drop("n").expect("it is there"));
                accepted += 1;
            }
        });
    }
    assert!(accepted > 0, "some words are of numbers, or good when they are read");
    Ok(())
}

#[test]
fn a_column_that_differs_from_its_description_is_refused() {
    let series = Series::new("x".into(), [Some("a"), None, Some("b")]);
    let read = |change: fn(&mut OutgoingColumn)| {
        let mut column = OutgoingColumn::new(&series).expect("it can be sent");
        change(&mut column);
        let mut bytes = Vec::new();
        super::write(3, &[column], &mut Encoder::new(&mut bytes, &mut Vec::new(), None)).expect("it is small");
        <Series as Direct>::read(&mut Decoder::new(&bytes, Vec::new())).map_err(|error| error.to_string())
    };
    assert!(read(|_| {}).expect("nothing was changed").equals_missing(&series));
    let rows = read(|column| column.len = 4).expect_err("a row is missing");
    assert_eq!(rows, "column `x`: 4 rows were sent, 1 of them null, and 3 came, 1 null");
    let nulls = read(|column| column.nulls = 0).expect_err("a null is too many");
    assert_eq!(nulls, "column `x`: 3 rows were sent, 0 of them null, and 3 came, 1 null");
    let twice = read(|column| column.chunks.push(column.chunks[0].clone())).expect_err("rows are too many");
    assert_eq!(twice, "column `x`: 3 rows were sent, 1 of them null, and 6 came, 2 null");
}

#[test]
fn a_column_without_chunks_arrives_empty() {
    let nothing = std::iter::empty::<polars_arrow::array::Int64Array>();
    let series = Int64Chunked::from_chunk_iter("x".into(), nothing).into_series();
    assert_eq!(series.n_chunks(), 0);
    let mut bytes = Vec::new();
    Direct::write(&series, &mut Encoder::new(&mut bytes, &mut Vec::new(), None)).expect("it can be written");
    let back = <Series as Direct>::read(&mut Decoder::new(&bytes, Vec::new())).expect("it can be read");
    assert_eq!((back.field(), back.len()), (series.field(), 0));
}

/// The bytes that a series takes when it is sent.
fn size(series: &Series) -> usize {
    let (mut bytes, mut attachments, mut outbox) = (Vec::new(), Vec::new(), Outbox::default());
    let mut out = Encoder::new(&mut bytes, &mut attachments, Some(&mut outbox));
    Direct::write(series, &mut out).expect("it can be written");
    let attachments = attachments.iter().map(|block| match block {
        Attachment::Segment(sent) => usize::try_from(sent.len).expect("64 bits"),
        Attachment::Descriptor(_) => 0,
    });
    bytes.len() + attachments.sum::<usize>()
}

/// Texts of 100 bytes.
fn texts(rows: usize) -> Series {
    Series::new("x".into(), (0..rows).map(|row| format!("{row:0100}")).collect::<Vec<_>>())
}

/// An upper bound for texts of 100 bytes: bytes, views, and the description of a column and its chunks.
fn most(rows: usize) -> usize {
    rows * (2 * 100 + 16 + 8 + 8) + 1_000
}

#[test]
fn a_slice_of_texts_sends_what_it_uses() -> PolarsResult<()> {
    let rows = 100_000;
    let all = texts(rows);
    let bytes = all.cast(&DataType::Binary)?;
    let lists = Series::new("x".into(), (0..1_000).map(|row| all.slice(row * 100, 100)).collect::<Vec<_>>());
    let structs = StructChunked::from_series("x".into(), rows, [all.clone()].iter())?.into_series();
    let pairs = all.reshape_array(&[ReshapeDimension::new(50_000), ReshapeDimension::new(2)])?;
    for start in [0, 500, 7_777] {
        assert!(size(&all.slice(start, 100)) <= most(100), "{}", size(&all.slice(start, 100)));
        assert!(size(&bytes.slice(start, 100)) <= most(100));
        assert!(size(&structs.slice(start, 100)) <= most(100));
        assert!(size(&pairs.slice(start, 50)) <= most(100));
    }
    assert!(size(&lists.slice(3, 2)) <= most(200));
    // A column that shares the buffers and uses every tenth text.
    let mask: BooleanChunked = (0..rows).map(|row| row % 10 == 0).collect();
    assert!(size(&all.filter(&mask)?) <= most(rows / 10));
    // Many chunks together take little more than the whole column.
    let chunks: usize = (0..64).map(|chunk| size(&all.slice(chunk * 1_562, 1_562))).sum();
    assert!(chunks <= size(&all) * 5 / 4, "{chunks}");
    // Equal rows share one text, which is sent once.
    let same = Series::new("x".into(), ["a text that is not in its view"]).new_from_index(0, rows);
    assert!(size(&same) <= rows * 16 + 1_000, "{}", size(&same));
    // Texts that only null rows refer to are not sent.
    let nulls: BooleanChunked = (0..rows).map(|row| row == 5).collect();
    let one = all.zip_with(&nulls, &Series::full_null("x".into(), rows, all.dtype()))?;
    assert!(size(&one) <= rows * (16 + 1) + 2_000, "{}", size(&one));
    Ok(())
}

#[test]
fn an_enum_sends_its_names_once() -> PolarsResult<()> {
    let names: Vec<String> = (0..1_000).map(|name| format!("a name of some length {name}")).collect();
    let dtype = DataType::from_frozen_categories(FrozenCategories::new(names.iter().map(String::as_str))?);
    let piece = Series::new("x".into(), ["a name of some length 7"]).cast(&dtype)?;
    let mut many = piece.clone();
    (1..100).try_for_each(|_| many.append(&piece).map(drop))?;
    assert_eq!(many.n_chunks(), 100);
    assert!(size(&many) <= size(&piece) + 10_000, "{} for one, {} for 100", size(&piece), size(&many));
    Ok(())
}

/// A linear check takes under a second here, a quadratic one minutes.
#[test]
fn overlapping_texts_are_checked_in_linear_time() {
    let mut bytes = vec![b'a'; 1 << 20];
    // Not UTF-8 as a whole.
    bytes.push(0xff);
    let len = 1 << 19;
    let view = |(offset, start): (u32, usize)| {
        polars_arrow::array::View::new_from_bytes(&bytes[start..start + len], 0, offset)
    };
    let views: Vec<_> = (0..500_000).zip(0..).map(view).collect();
    let begun = Instant::now();
    views::tests::check(&views, &[bytes]).expect("they are all text");
    assert!(begun.elapsed() < Duration::from_secs(20));
}
