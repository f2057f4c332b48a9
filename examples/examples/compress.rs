//! Compresses many files at once: FILE becomes FILE.gz.
//!
//! `cargo run --release -p fanfold-examples --example compress [FOLDER]`; without a folder, it creates files in a
//! temporary folder.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use fanfold::parallel;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Sizes before and after, in bytes.
struct Sizes {
    plain: u64,
    packed: u64,
}

/// Compression spends far more time computing than reading and writing, so it runs on the cpu pool.
#[parallel(kind = "cpu")]
fn compress(path: &Path) -> io::Result<Sizes> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let packed = PathBuf::from(name);
    let mut encoder = GzEncoder::new(File::create(&packed)?, Compression::default());
    let plain = io::copy(&mut BufReader::new(File::open(path)?), &mut encoder)?;
    encoder.finish()?;
    Ok(Sizes { plain, packed: fs::metadata(&packed)?.len() })
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?; // deleted at the end of `main`
    let folder = match env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => make_files(temporary.path())?,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "gz") {
            files.push(path);
        }
    }

    let sizes: Result<Vec<Sizes>, _> = compress::map(files.iter().map(PathBuf::as_path)).collect();
    let sizes = sizes?;

    println!("files    {:>10}", sizes.len());
    println!("before   {:>10} bytes", sizes.iter().map(|file| file.plain).sum::<u64>());
    println!("after    {:>10} bytes", sizes.iter().map(|file| file.packed).sum::<u64>());
    Ok(())
}

fn make_files(folder: &Path) -> io::Result<PathBuf> {
    for file in 0..40 {
        let lines: Vec<String> = (0..1_000).map(|line| format!("line {line:>4} of file {file:>2}\n")).collect();
        fs::write(folder.join(format!("{file}.txt")), lines.concat())?;
    }
    Ok(folder.to_owned())
}
