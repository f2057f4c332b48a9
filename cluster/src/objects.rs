//! Parquet files that are objects of a bucket, for scans and sinks: `s3://bucket/flights/*.parquet`.
//!
//! A chunk reads the footer and its own row groups of an object, never the whole. Credentials and the endpoint are
//! those of [`Storage`].

use std::io::Cursor;
use std::ops::Range;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use polars::prelude::*;

use crate::storage::Storage;

/// Bytes at the end of an object that are read first, 64 KiB: most footers are shorter.
const FOOTER_BYTES: u64 = 64 << 10;
/// The length of the footer, and `PAR1`.
const TRAILER_BYTES: u64 = 8;
/// Characters that make a name a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Whether a path is the address of an object, such as `s3://bucket/x.parquet`.
pub(crate) fn is_address(path: &str) -> bool {
    path.contains("://")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The bytes of an object, of which parts were read. The others are zero, and their pages take no memory.
struct Sparse(Vec<u8>);

impl Sparse {
    /// Reads the footer.
    async fn open(object: &Storage) -> Result<Self, String> {
        let length = object.store().head(object.base()).await.map_err(text)?.size;
        if length < TRAILER_BYTES {
            return Err(format!("it has {length} bytes, which is no Parquet file"));
        }
        let bytes = vec![0; usize::try_from(length).map_err(text)?];
        let mut sparse = Self(bytes);
        let tail = length.saturating_sub(FOOTER_BYTES);
        sparse.read(object, tail..length).await?;
        let trailer = sparse.0.last_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
        // Its lower half is the length of the footer.
        let footer = length.saturating_sub(TRAILER_BYTES + (trailer & u64::from(u32::MAX)));
        if footer < tail {
            sparse.read(object, footer..tail).await?;
        }
        Ok(sparse)
    }

    async fn read(&mut self, object: &Storage, range: Range<u64>) -> Result<(), String> {
        let part = object.store().get_range(object.base(), range.clone()).await.map_err(text)?;
        let start = usize::try_from(range.start).map_err(text)?;
        let place = self.0.get_mut(start..start + part.len()).ok_or("the object has changed while it was read")?;
        place.copy_from_slice(&part);
        Ok(())
    }

    fn reader(&self) -> ParquetReader<Cursor<&[u8]>> {
        ParquetReader::new(Cursor::new(&self.0))
    }
}

/// The number of rows of an object, from its footer.
pub(crate) async fn height(address: String) -> Result<usize, String> {
    let object = Storage::open(&address).map_err(text)?;
    Sparse::open(&object).await?.reader().num_rows().map_err(text)
}

/// The bytes of an object, from which these rows can be decoded: its footer and the row groups that have them were
/// read, and the rest is zero.
pub(crate) async fn read(address: String, first: usize, count: usize) -> Result<Vec<u8>, String> {
    let object = Storage::open(&address).map_err(text)?;
    let mut sparse = Sparse::open(&object).await?;
    let metadata = sparse.reader().get_metadata().map_err(text)?.clone();
    let (mut start, rows) = (0, first..first.saturating_add(count));
    for group in &metadata.row_groups {
        let end = start + group.num_rows();
        if start < rows.end && rows.start < end {
            let columns = group.byte_ranges_iter();
            let bytes = columns.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
            if let Some(bytes) = bytes {
                sparse.read(&object, bytes).await?;
            }
        }
        start = end;
    }
    Ok(sparse.0)
}

/// Writes an object. It is there as a whole or not at all.
pub(crate) async fn write(address: String, bytes: Vec<u8>) -> Result<(), String> {
    let object = Storage::open(&address).map_err(text)?;
    object.store().put(object.base(), bytes.into()).await.map(drop).map_err(text)
}

/// Deletes objects. One that cannot be deleted stays.
pub(crate) async fn remove(addresses: Vec<String>) {
    for address in addresses {
        if let Ok(object) = Storage::open(&address) {
            let _ = object.store().delete(object.base()).await;
        }
    }
}

/// Whether a folder has no objects.
pub(crate) async fn is_empty(address: String) -> Result<bool, String> {
    let folder = Storage::open(&address).map_err(text)?;
    Ok(folder.store().list(Some(folder.base())).try_next().await.map_err(text)?.is_none())
}

/// The Parquet objects of an address, a pattern or a folder, in the order of their names.
pub(crate) async fn list(address: String) -> Result<Vec<String>, String> {
    let (bucket, key) = split(&address).ok_or("an address is needed such as `s3://bucket/folder`")?;
    let folder = match key.find(WILDCARDS) {
        Some(wildcard) => key[..wildcard].rfind('/').map_or("", |end| &key[..end]),
        None => key,
    };
    let listed = Storage::open(&format!("{bucket}/{folder}")).map_err(text)?;
    let is_wanted: Box<dyn Fn(&Path) -> bool + Send> = if key.contains(WILDCARDS) {
        let pattern = glob::Pattern::new(key).map_err(text)?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        Box::new(move |path| pattern.matches_with(path.as_ref(), options))
    } else if listed.store().head(listed.base()).await.is_ok() {
        return Ok(vec![address.clone()]);
    } else {
        Box::new(|path| path.extension() == Some("parquet"))
    };
    let objects: Vec<_> = listed.store().list(Some(listed.base())).try_collect().await.map_err(text)?;
    let paths = objects.into_iter().map(|object| object.location).filter(is_wanted);
    let mut addresses: Vec<String> = paths.map(|path| format!("{bucket}/{path}")).collect();
    addresses.sort();
    Ok(addresses)
}

/// The bucket and the key of an address: `s3://bucket` and `folder/x.parquet`.
fn split(address: &str) -> Option<(&str, &str)> {
    let bucket = address.find("://")? + 3;
    match address[bucket..].find('/') {
        Some(end) => Some((&address[..bucket + end], &address[bucket + end + 1..])),
        None => Some((address, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_address_has_a_bucket_and_a_key() {
        assert_eq!(split("s3://bucket/a/*.parquet"), Some(("s3://bucket", "a/*.parquet")));
        assert_eq!(split("s3://bucket"), Some(("s3://bucket", "")));
        assert_eq!(split("bucket/a"), None);
    }
}
