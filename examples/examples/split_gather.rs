//! `Split` and `Gather` for your own types: an image is cut between rows, and the blurred pieces are put together.
//!
//! `cargo run --release -p fanfold-examples --example split_gather`

use fanfold::{Gather, GatherError, Split, parallel};

/// A grey image, row by row.
#[derive(Clone, Debug, PartialEq)]
struct Image {
    width: usize,
    pixels: Vec<u8>,
}

/// A chunk has whole rows.
impl Split for Image {
    fn size(&self) -> usize {
        self.pixels.len() / self.width
    }

    fn cut(mut self, at: usize) -> (Self, Self) {
        let below = Self { width: self.width, pixels: self.pixels.split_off(at * self.width) };
        (self, below)
    }
}

impl Gather for Image {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let width = parts.first().map_or(1, |part| part.width);
        Ok(Self { width, pixels: parts.into_iter().flat_map(|part| part.pixels).collect() })
    }
}

/// Each pixel becomes the mean of itself and its neighbours in the row.
#[parallel(kind = "cpu", chunks = 4)]
fn blur(image: Image) -> Image {
    let Image { width, pixels } = image;
    let row = |row: &[u8]| -> Vec<u8> {
        let mean = |at: usize| {
            let near = &row[at.saturating_sub(1)..row.len().min(at + 2)];
            let sum: usize = near.iter().map(|&pixel| usize::from(pixel)).sum();
            u8::try_from(sum / near.len()).unwrap_or(u8::MAX)
        };
        (0..row.len()).map(mean).collect()
    };
    Image { width, pixels: pixels.chunks(width).flat_map(row).collect() }
}

fn main() {
    let pixels = (0..12).flat_map(|row| (0..24).map(move |column| if (row + column) % 6 < 3 { 255 } else { 0 }));
    let image = Image { width: 24, pixels: pixels.collect() };
    let blurred = blur(image.clone());
    for row in blurred.pixels.chunks(24) {
        println!("{}", row.iter().map(|&pixel| b" .:oO@"[usize::from(pixel) * 5 / 255] as char).collect::<String>());
    }
    println!("as without chunks: {}", blurred == blur::serial(image));
}
