//! Thumbnails: many images are scaled down, each in a worker process, and a damaged one costs nothing but itself.
//!
//! `cargo run --release -p fanfold-examples --example thumbnails`

use fanfold::{Bytes, parallel};

/// The width and height of a thumbnail at most.
const SIZE: usize = 16;

/// Scales a grey image in the format PGM (`P5 WIDTH HEIGHT 255`, then a byte a pixel). Decoders of images are often C:
/// in a process of its own a crash of one ends only this call. `Bytes` crosses through shared memory without a copy.
#[parallel(kind = "process")]
fn thumbnail(image: Bytes) -> Result<Bytes, String> {
    let header = image.splitn(4, |&byte| byte == b' ' || byte == b'\n').collect::<Vec<_>>();
    let [b"P5", width, height, rest] = header[..] else { return Err("it is no PGM file".into()) };
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    let (width, height) = number(width).zip(number(height)).ok_or("its size is no number")?;
    let pixels = rest.strip_prefix(b"255\n").ok_or("it has another depth")?;
    if width == 0 || height == 0 || width.checked_mul(height) != Some(pixels.len()) {
        return Err(format!("it ends early: {} pixels of {width} x {height}", pixels.len()));
    }
    let step = width.max(height).div_ceil(SIZE);
    let rows = (0..height).step_by(step).map(|row| &pixels[row * width..(row + 1) * width]);
    let small: Vec<u8> = rows.flat_map(|row| row.iter().copied().step_by(step)).collect();
    Ok([format!("P5 {} {} 255\n", width.div_ceil(step), height.div_ceil(step)).as_bytes(), &small].concat().into())
}

#[fanfold::main]
fn main() {
    let image = |size: usize| -> Bytes {
        let pixels = (0..size * size).map(|at| u8::try_from((at / size + at % size) % 256).unwrap_or(0));
        format!("P5 {size} {size} 255\n").into_bytes().into_iter().chain(pixels).collect::<Vec<u8>>().into()
    };
    let mut images: Vec<(String, Bytes)> = (1..=6).map(|n| (format!("{n}.pgm"), image(n * 100))).collect();
    images.push(("damaged.pgm".into(), b"P5 100 100 255\nshort".to_vec().into()));
    let (names, bytes): (Vec<_>, Vec<_>) = images.into_iter().unzip();
    for (name, small) in names.iter().zip(thumbnail::map(bytes).collect::<Vec<_>>()) {
        match small {
            Ok(small) => println!("{name}: {} bytes", small.len()),
            Err(error) => println!("{name}: {error}"),
        }
    }
}
