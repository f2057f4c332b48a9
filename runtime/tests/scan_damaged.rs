//! Damaged files: sizes claimed by a file neither crash nor stall the program, and wrong contents never become rows.
//!
//! Polars and a scan read each damaged file in a process with a memory limit. Where Polars gives rows or an error, the
//! scan gives the same rows, or an error that says that the file is damaged.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfold::prelude::*;
use polars::prelude::*;
use polars_core::query_result::QueryResult;

/// The folder of damaged files, set in the process that reads them.
const FOLDER: &str = "FANFOLD_TEST_DAMAGED";
/// The index of the first file to read.
const FIRST: &str = "FANFOLD_TEST_DAMAGED_FIRST";
/// The limit of the address space.
const MEMORY: u64 = 16 << 30;
/// The time limit for one file.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The number of reads so far, by Polars and by scans.
static STEP: AtomicUsize = AtomicUsize::new(0);

/// A pseudo-random sequence that is equal in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).expect("31 bits") % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Damages a file in one of several ways, mostly in its last `tail` bytes.
fn damaged(whole: &[u8], tail: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=numbers.below(3) {
        let length = bytes.len();
        let from = if numbers.below(4) > 0 { length.saturating_sub(tail) } else { 0 };
        let at = from + numbers.below(length - from);
        match numbers.below(9) {
            0 | 1 => bytes[at] = numbers.byte(),
            2 => bytes[at] ^= 1 << numbers.below(8),
            // A large number in the encoding of Parquet's footer.
            3 | 4 => {
                let size = 1 + numbers.below(9);
                for (offset, byte) in bytes[at..].iter_mut().take(size).enumerate() {
                    *byte = if offset + 1 == size { 0x01 } else { 0xff };
                }
            }
            // A number of 4 or 8 bytes, large or negative.
            5 => {
                let value =
                    [u64::MAX, i64::MAX as u64, 1 << 62, 1 << 40, 1 << 31, u64::from(u32::MAX)][numbers.below(6)];
                let size = 4 + 4 * numbers.below(2);
                bytes[at..].iter_mut().take(size).zip(value.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
            6 => {
                let size = numbers.below(40);
                bytes[at..].iter_mut().take(size).for_each(|byte| *byte = 0);
            }
            7 => bytes.insert(at, numbers.byte()),
            _ if numbers.below(6) == 0 => bytes.truncate(at),
            _ => drop(bytes.remove(at)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

fn frame() -> DataFrame {
    let text: Vec<Option<String>> = (0..300).map(|n| (n % 5 != 0).then(|| format!("text {}", n % 17))).collect();
    let lists: Vec<Option<Series>> =
        (0..300_i64).map(|n| (n % 7 != 0).then(|| Series::new("".into(), (0..n % 4).collect::<Vec<_>>()))).collect();
    let frame = df!(
        "n" => (0..300_i64).collect::<Vec<_>>(),
        "same" => vec![1_i32; 300],
        "text" => text,
        "half" => (0..300_i32).map(|n| (n % 3 != 0).then(|| f64::from(n) / 2.0)).collect::<Vec<_>>(),
        "list" => lists,
        "yes" => (0..300).map(|n| n % 2 == 0).collect::<Vec<_>>(),
    );
    frame.expect("equal lengths")
}

/// Undamaged files of a format, and the length of their footer.
fn undamaged(format: &str) -> Vec<(Vec<u8>, usize)> {
    let mut frame = frame();
    let mut files = Vec::new();
    match format {
        "parquet" => {
            let compressions =
                [ParquetCompression::Uncompressed, ParquetCompression::Snappy, ParquetCompression::Zstd(None)];
            for compression in compressions {
                let mut bytes = Vec::new();
                let writer = ParquetWriter::new(&mut bytes).with_compression(compression);
                writer.with_row_group_size(Some(100)).finish(&mut frame).expect("written");
                let length: [u8; 4] = bytes[bytes.len() - 8..bytes.len() - 4].try_into().expect("4 bytes");
                let tail = u32::from_le_bytes(length) as usize + 8;
                files.push((bytes, tail));
            }
        }
        "ipc" => {
            for compression in [None, Some(IpcCompression::LZ4)] {
                let mut bytes = Vec::new();
                IpcWriter::new(&mut bytes).with_compression(compression).finish(&mut frame).expect("written");
                let length: [u8; 4] = bytes[bytes.len() - 10..bytes.len() - 6].try_into().expect("4 bytes");
                let tail = u32::from_le_bytes(length) as usize + 10;
                files.push((bytes, tail));
            }
        }
        _ => {
            let mut bytes = Vec::new();
            let mut flat = frame.drop("list").expect("it is there");
            CsvWriter::new(&mut bytes).finish(&mut flat).expect("written");
            let tail = bytes.len();
            files.push((bytes, tail));
        }
    }
    files
}

fn by_polars(path: &Path) -> PolarsResult<DataFrame> {
    let text = PlRefPath::new(path.to_str().expect("UTF-8"));
    let lazy = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => LazyFrame::scan_parquet(text, ScanArgsParquet::default())?,
        Some("ipc") => LazyFrame::scan_ipc(text, IpcScanOptions::default(), UnifiedScanArgs::default())?,
        _ => LazyCsvReader::new(text).finish()?,
    };
    lazy.collect_with_engine(Engine::Streaming).map(QueryResult::unwrap_single)
}

fn by_scan(path: &Path, rows: Option<usize>) -> PolarsResult<DataFrame> {
    let scan = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => scan_parquet(path),
        Some("ipc") => scan_ipc(path),
        _ => scan_csv(path),
    };
    let scan = match rows {
        Some(rows) => scan.par_rows(rows),
        None => scan,
    };
    Ok(scan.map(Ok).collect()?)
}

/// The body of the other process: reads the files one after the other and prints the outcome of each.
#[test]
fn child_reads_damaged_files() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let first: usize = std::env::var(FIRST).expect("it is set").parse().expect("a number");
    let limit = libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY };
    // SAFETY: `limit` is a valid `rlimit` that lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::spawn(|| {
        let mut last = usize::MAX;
        loop {
            std::thread::sleep(TIME_LIMIT);
            let step = STEP.load(Ordering::Relaxed);
            if step == last {
                std::process::abort();
            }
            last = step;
        }
    });
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let guarded = |work: &dyn Fn() -> PolarsResult<DataFrame>| {
        STEP.fetch_add(1, Ordering::Relaxed);
        catch_unwind(AssertUnwindSafe(work))
    };
    for (index, path) in paths.iter().enumerate().skip(first) {
        println!("= {index} polars");
        let theirs = guarded(&|| by_polars(path));
        let outcome = match &theirs {
            Ok(Ok(_)) => "rows",
            Ok(Err(_)) => "error",
            Err(_) => "panic",
        };
        println!("= {index} polars {outcome}");
        for rows in [None, Some(70), Some(usize::MAX)] {
            println!("= {index} scan");
            let outcome = match (guarded(&|| by_scan(path, rows)), &theirs) {
                (Ok(Ok(ours)), Ok(Ok(theirs))) if !ours.equals_missing(theirs) => "different rows".to_owned(),
                (Ok(Ok(ours)), Ok(Err(error))) => format!("rows {} where Polars fails: {error}", ours.height()),
                (Ok(Ok(_)), _) => "rows".to_owned(),
                (Ok(Err(error)), Ok(Ok(_))) if !error.to_string().contains("damaged") => {
                    format!("error where Polars has rows: {error}")
                }
                (Ok(Err(_)), _) => "error".to_owned(),
                (Err(_), _) => "panic".to_owned(),
            };
            println!("= {index} scan {}", outcome.replace('\n', " "));
        }
    }
    println!("= done");
}

/// Has other processes read the files of a folder, and collects the differences.
fn read_in_another_process(folder: &Path, count: usize) -> Vec<String> {
    let (mut first, mut read, mut wrong) = (0, 0, Vec::new());
    while first < count {
        let mut child = Command::new(std::env::current_exe().expect("a test has one"));
        child.args(["--exact", "child_reads_damaged_files", "--nocapture"]);
        child.env(FOLDER, folder).env(FIRST, first.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().expect("the program starts");
        let (mut polars, mut last) = (None, String::new());
        let mut done = false;
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            let line = String::from_utf8_lossy(line.expect("readable").as_bytes()).into_owned();
            let Some(report) = line.find("= ").map(|at| line[at + 2..].to_owned()) else { continue };
            if report == "done" {
                done = true;
                continue;
            }
            let mut words = report.splitn(3, ' ');
            let (index, reader, what) = (words.next(), words.next(), words.next());
            first = index.and_then(|index| index.parse().ok()).unwrap_or(first);
            match (reader, what) {
                (Some("polars"), what) => polars = what.map(str::to_owned),
                (Some("scan"), Some("rows" | "error")) => read += 1,
                (Some("scan"), Some(what)) => {
                    wrong.push(format!("file {first}: Polars {polars:?}, a scan: {what}"));
                }
                _ => {}
            }
            last = report;
        }
        let status = child.wait().expect("it was started");
        if done {
            break;
        }
        if last.contains("scan") && polars.is_some() {
            wrong.push(format!("file {first}: Polars {polars:?}, a scan ended the process: {status}"));
        }
        first += 1;
    }
    if read < count / 2 {
        wrong.push(format!("of {count} files only {read} scans ended"));
    }
    wrong
}

fn compare(format: &str, count: usize) {
    let folder = tempfile::tempdir().expect("a folder is created");
    let mut numbers = Numbers(format.len() as u64);
    let files = undamaged(format);
    for index in 0..count {
        let (bytes, tail) = &files[index % files.len()];
        let bytes = damaged(bytes, *tail, &mut numbers);
        fs::write(folder.path().join(format!("{index:06}.{format}")), bytes).expect("it can be written");
    }
    let wrong = read_in_another_process(folder.path(), count);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes the encoding of Parquet's footer.
mod thrift {
    fn unsigned(mut number: u64, bytes: &mut Vec<u8>) {
        while number >= 0x80 {
            bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        bytes.push(number.to_le_bytes()[0]);
    }

    pub(super) fn number(number: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        unsigned(number.cast_unsigned() << 1 ^ (number >> 63).cast_unsigned(), &mut bytes);
        bytes
    }

    pub(super) fn text(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        unsigned(text.len() as u64, &mut bytes);
        [bytes, text.as_bytes().to_vec()].concat()
    }

    /// A list of fewer than 15 items of one type.
    pub(super) fn list(kind: u8, items: &[Vec<u8>]) -> Vec<u8> {
        let length = u8::try_from(items.len()).expect("few");
        [vec![length << 4 | kind], items.concat()].concat()
    }

    /// A structure of fields: their numbers, types and values.
    pub(super) fn structure(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (id, kind, value) in fields {
            bytes.push((id - last) << 4 | kind);
            bytes.extend(value);
            last = *id;
        }
        bytes.push(0);
        bytes
    }

    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const TEXT: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
}

/// What the footer of a Parquet file of three rows claims.
#[derive(Clone)]
struct Claims {
    repeated: bool,
    file_rows: i64,
    group_rows: i64,
    group_bytes: i64,
    values: i64,
    uncompressed: Option<i64>,
    compressed: Option<i64>,
    offset: i64,
    page_values: i64,
    page_uncompressed: Option<i64>,
    page_compressed: Option<i64>,
}

impl Claims {
    fn correct(repeated: bool) -> Self {
        let values = if repeated { 4 } else { 3 };
        Self {
            repeated,
            file_rows: 3,
            group_rows: 3,
            group_bytes: 80,
            values,
            uncompressed: None,
            compressed: None,
            offset: 4,
            page_values: values,
            page_uncompressed: None,
            page_compressed: None,
        }
    }

    fn file(&self) -> Vec<u8> {
        use thrift::{I32, I64, LIST, STRUCT, TEXT, list, number, structure, text};
        // Repeated: `[[1, 2], [], [3]]`, with the levels 0 1 0 0 and 1 1 0 1.
        let levels = |bits: u8| [&2_i32.to_le_bytes()[..], &[3, bits]].concat();
        let numbers: Vec<u8> = [1_i32, 2, 3].iter().flat_map(|n| n.to_le_bytes()).collect();
        let data = if self.repeated { [levels(0b0010), levels(0b1011), numbers].concat() } else { numbers };
        let length = i64::try_from(data.len()).expect("short");
        let values = structure(&[
            (1, I32, number(self.page_values)),
            (2, I32, number(0)),
            (3, I32, number(3)),
            (4, I32, number(3)),
        ]);
        let header = structure(&[
            (1, I32, number(0)),
            (2, I32, number(self.page_uncompressed.unwrap_or(length))),
            (3, I32, number(self.page_compressed.unwrap_or(length))),
            (5, STRUCT, values),
        ]);
        let page = [header, data].concat();
        let length = i64::try_from(page.len()).expect("short");
        let column = structure(&[
            (1, I32, number(1)),
            (2, LIST, list(I32, &[number(0), number(3)])),
            (3, LIST, list(TEXT, &[text("x")])),
            (4, I32, number(0)),
            (5, I64, number(self.values)),
            (6, I64, number(self.uncompressed.unwrap_or(length))),
            (7, I64, number(self.compressed.unwrap_or(length))),
            (9, I64, number(self.offset)),
        ]);
        let chunk = structure(&[(2, I64, number(4)), (3, STRUCT, column)]);
        let group = structure(&[
            (1, LIST, list(STRUCT, &[chunk])),
            (2, I64, number(self.group_bytes)),
            (3, I64, number(self.group_rows)),
        ]);
        let root = structure(&[(4, TEXT, text("schema")), (5, I32, number(1))]);
        let repetition = if self.repeated { 2 } else { 0 };
        let x = structure(&[(1, I32, number(1)), (3, I32, number(repetition)), (4, TEXT, text("x"))]);
        let directory = structure(&[
            (1, I32, number(1)),
            (2, LIST, list(STRUCT, &[root, x])),
            (3, I64, number(self.file_rows)),
            (4, LIST, list(STRUCT, &[group])),
        ]);
        let length = i32::try_from(directory.len()).expect("short").to_le_bytes();
        [b"PAR1", &page[..], &directory, &length, b"PAR1"].concat()
    }
}

#[test]
fn wrong_claims_of_a_parquet_footer_are_errors() {
    let folder = tempfile::tempdir().expect("a folder is created");
    let mut count = 0;
    let mut write = |claims: &Claims| {
        fs::write(folder.path().join(format!("{count:06}.parquet")), claims.file()).expect("it can be written");
        count += 1;
    };
    for repeated in [false, true] {
        let honest = Claims::correct(repeated);
        write(&honest);
        for n in [-1, 0, 1, 2, 4, 1 << 20, 1 << 26, 1 << 31, 1 << 32, 1 << 40, 1 << 62, i64::MAX, i64::MIN] {
            write(&Claims { file_rows: n, ..honest.clone() });
            write(&Claims { group_rows: n, ..honest.clone() });
            write(&Claims { group_bytes: n, ..honest.clone() });
            write(&Claims { values: n, ..honest.clone() });
            write(&Claims { uncompressed: Some(n), ..honest.clone() });
            write(&Claims { compressed: Some(n), ..honest.clone() });
            write(&Claims { offset: n, ..honest.clone() });
            write(&Claims { page_values: n, ..honest.clone() });
            write(&Claims { page_uncompressed: Some(n), ..honest.clone() });
            write(&Claims { page_compressed: Some(n), ..honest.clone() });
            write(&Claims { file_rows: n, group_rows: n, ..honest.clone() });
            write(&Claims { group_rows: n, group_bytes: n, ..honest.clone() });
            write(&Claims { group_rows: n, values: n, ..honest.clone() });
            write(&Claims { file_rows: n, group_rows: n, values: n, ..honest.clone() });
            write(&Claims { file_rows: n, group_rows: n, values: n, group_bytes: n, ..honest.clone() });
            write(&Claims { group_rows: n, values: n, page_values: n, group_bytes: n, ..honest.clone() });
        }
    }
    let wrong = read_in_another_process(folder.path(), count);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn damaged_parquet_files_give_the_rows_or_errors_of_polars() {
    compare("parquet", 400);
}

#[test]
fn damaged_ipc_files_give_the_rows_or_errors_of_polars() {
    compare("ipc", 200);
}

#[test]
fn damaged_csv_files_give_the_rows_or_errors_of_polars() {
    compare("csv", 60);
}

#[test]
fn panics_and_missing_files_are_not_reported_as_damage() {
    let folder = tempfile::tempdir().expect("a folder is created");
    let query = frame().lazy().map(|_| panic!("unlucky"), OptFlags::empty(), None, None);
    let error = query.par_rows(10).map(Ok).collect().expect_err("it panics").to_string();
    assert!(error.contains("Polars panicked (unlucky)") && !error.contains("damaged"), "{error}");
    // Overwrites the pages and keeps their sizes.
    let (mut bytes, tail) = undamaged("parquet").swap_remove(1);
    let pages = bytes.len() - tail;
    bytes[4..pages].fill(0xff);
    let path = folder.path().join("a.parquet");
    fs::write(&path, bytes).expect("it can be written");
    let error = scan_parquet(&path).map(Ok).collect().expect_err("no pages").to_string();
    assert!(error.contains("a.parquet`: "), "{error}");
    let missing = scan_parquet(folder.path().join("b.parquet")).map(Ok).collect().expect_err("no file").to_string();
    assert!(!missing.contains("damaged"), "{missing}");
}
