//! [`Pages`]: where the pages of a Parquet column chunk are, so that some rows can be read without those before them.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use polars::prelude::*;
use polars_buffer::Buffer;
use polars_parquet::read::ColumnChunkMetadata;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use polars_parquet_format::{PageHeader, PageType};

use super::opened::OpenedFile;

/// Bytes that are read at a time for a page's header: most headers have less than 100.
const HEADER: usize = 512;

/// The pages of a column chunk, by their headers.
pub(super) struct Pages {
    dictionary: Option<Range<u64>>,
    data: Vec<Page>,
    /// Values of all data pages: rows, where the column is flat.
    values: usize,
    /// Size of all pages when they are decompressed.
    bytes: usize,
}

/// A data page.
struct Page {
    /// Its values, counted from the first one of the column chunk.
    values: Range<usize>,
    /// Its header and what follows.
    bytes: Range<u64>,
}

impl Pages {
    /// Reads the headers of a column chunk.
    pub(super) fn of(file: &OpenedFile, chunk: &ColumnChunkMetadata) -> PolarsResult<Self> {
        let Range { start, end } = chunk.byte_range();
        let mut reader = BufReader::with_capacity(HEADER, Part { file, position: start, end });
        let mut pages = Self { dictionary: None, data: Vec::new(), values: 0, bytes: 0 };
        let claimed = size(chunk.num_values())?;
        let mut position = start;
        while position < end && pages.values < claimed {
            let header = PageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut reader, usize::MAX))
                .map_err(|error| polars_err!(ComputeError: "parquet: a page's header cannot be read: {error}"))?;
            // The length is not negative, so the reader moves on and the loop ends.
            size(header.compressed_page_size.into())?;
            reader.seek_relative(header.compressed_page_size.into())?;
            let bytes = position..reader.stream_position()?;
            position = bytes.end;
            polars_ensure!(position <= end, ComputeError: "parquet: a page reaches beyond its column chunk");
            pages.bytes = pages.bytes.saturating_add(size(header.uncompressed_page_size.into())?);
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
        let first = self.values;
        self.values = first.saturating_add(size(values.into())?);
        self.data.push(Page { values: first..self.values, bytes });
        Ok(())
    }

    /// Values of all data pages.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Size of all pages when they are decompressed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the pages that hold the rows of a flat column, and says where in them the rows are.
    pub(super) fn read(&self, file: &OpenedFile, rows: &Range<usize>) -> PolarsResult<(Buffer<u8>, Range<usize>)> {
        let mut bytes = Vec::new();
        if let Some(dictionary) = &self.dictionary {
            file.append(dictionary, &mut bytes)?;
        }
        let first = self.data.partition_point(|page| page.values.end <= rows.start);
        let pages = self.data[first..].iter().take_while(|page| page.values.start < rows.end);
        // Pages follow each other, so they are read together.
        let before = self.data.get(first).map_or(0, |page| page.values.start);
        if let Some(range) = pages.map(|page| page.bytes.clone()).reduce(|all, page| all.start..page.end) {
            file.append(&range, &mut bytes)?;
        }
        file.check()?;
        Ok((bytes.into(), rows.start - before..rows.end - before))
    }
}

/// A number of a file that counts something.
pub(super) fn size(number: i64) -> PolarsResult<usize> {
    usize::try_from(number).map_err(|_| polars_err!(ComputeError: "parquet: a size is negative: {number}"))
}

/// Reads a part of a file, front to back.
struct Part<'a> {
    file: &'a OpenedFile,
    position: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = bytes.len().min(left);
        let read = self.file.read_at(&mut bytes[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Part<'_> {
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
