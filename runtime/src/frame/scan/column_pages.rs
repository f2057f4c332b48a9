//! [`ColumnPages`]: an index of the pages of a Parquet column chunk, to read some rows without those before them.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use polars::prelude::*;
use polars_buffer::Buffer;
use polars_parquet::read::ColumnChunkMetadata;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use polars_parquet_format::{PageHeader, PageType};

use super::open_file::OpenFile;

/// Bytes that are read at a time for a page header. Most headers have less than 100.
const HEADER_BYTES: usize = 512;

/// The pages of a column chunk, as their headers describe them.
pub(super) struct ColumnPages {
    dictionary: Option<Range<u64>>,
    data: Vec<DataPage>,
    /// The values of all data pages: as many as rows if the column is flat.
    value_count: usize,
    /// The size of all pages after decompression.
    decompressed_bytes: usize,
}

struct DataPage {
    /// Its values, counted from the first one of the column chunk.
    values: Range<usize>,
    /// Its header and body in the file.
    bytes: Range<u64>,
}

impl ColumnPages {
    /// Reads the page headers of a column chunk.
    pub(super) fn read_headers(file: &OpenFile, chunk: &ColumnChunkMetadata) -> PolarsResult<Self> {
        let Range { start, end } = chunk.byte_range();
        let mut reader = BufReader::with_capacity(HEADER_BYTES, FileRange { file, position: start, end });
        let mut pages = Self { dictionary: None, data: Vec::new(), value_count: 0, decompressed_bytes: 0 };
        let claimed = checked_size(chunk.num_values())?;
        let mut position = start;
        while position < end && pages.value_count < claimed {
            let header = PageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut reader, usize::MAX))
                .map_err(|error| polars_err!(ComputeError: "parquet: a page's header cannot be read: {error}"))?;
            // A negative size is refused here, so the position grows in each round and the loop ends.
            checked_size(header.compressed_page_size.into())?;
            reader.seek_relative(header.compressed_page_size.into())?;
            let bytes = position..reader.stream_position()?;
            position = bytes.end;
            polars_ensure!(position <= end, ComputeError: "parquet: a page reaches beyond its column chunk");
            let decompressed = checked_size(header.uncompressed_page_size.into())?;
            pages.decompressed_bytes = pages.decompressed_bytes.saturating_add(decompressed);
            match (header.type_, &header.data_page_header, &header.data_page_header_v2) {
                (PageType::DATA_PAGE, Some(page), _) => pages.push(page.num_values, bytes)?,
                (PageType::DATA_PAGE_V2, _, Some(page)) => pages.push(page.num_values, bytes)?,
                (PageType::DICTIONARY_PAGE, ..) if pages.data.is_empty() => pages.dictionary = Some(bytes),
                _ => polars_bail!(ComputeError: "parquet: a page of type {} is out of place", header.type_.0),
            }
        }
        Ok(pages)
    }

    fn push(&mut self, values: i32, bytes: Range<u64>) -> PolarsResult<()> {
        let first = self.value_count;
        self.value_count = first.saturating_add(checked_size(values.into())?);
        self.data.push(DataPage { values: first..self.value_count, bytes });
        Ok(())
    }

    /// The values of all data pages.
    pub(super) fn value_count(&self) -> usize {
        self.value_count
    }

    /// The size of all pages after decompression.
    pub(super) fn decompressed_bytes(&self) -> usize {
        self.decompressed_bytes
    }

    /// Reads the pages that hold rows of a flat column. Returns their bytes and the range of the rows within them.
    pub(super) fn read(&self, file: &OpenFile, rows: &Range<usize>) -> PolarsResult<(Buffer<u8>, Range<usize>)> {
        let mut bytes = Vec::new();
        if let Some(dictionary) = &self.dictionary {
            file.append(dictionary, &mut bytes)?;
        }
        let first = self.data.partition_point(|page| page.values.end <= rows.start);
        let pages = self.data[first..].iter().take_while(|page| page.values.start < rows.end);
        // Data pages are adjacent in the file, so one read covers them.
        let rows_before = self.data.get(first).map_or(0, |page| page.values.start);
        if let Some(range) = pages.map(|page| page.bytes.clone()).reduce(|all, page| all.start..page.end) {
            file.append(&range, &mut bytes)?;
        }
        file.check()?;
        Ok((bytes.into(), rows.start - rows_before..rows.end - rows_before))
    }
}

/// A count or size of a file's metadata as a `usize`; an error if it is negative.
pub(super) fn checked_size(number: i64) -> PolarsResult<usize> {
    usize::try_from(number).map_err(|_| polars_err!(ComputeError: "parquet: a size is negative: {number}"))
}

/// A reader of a range of a file.
struct FileRange<'a> {
    file: &'a OpenFile,
    position: u64,
    end: u64,
}

impl Read for FileRange<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = bytes.len().min(left);
        let read = self.file.read_at(&mut bytes[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for FileRange<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => self.end.checked_add_signed(distance),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
