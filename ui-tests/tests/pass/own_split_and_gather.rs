//! The user's own `Split` and `Gather` types, also as receivers.
use fanfold::{Gather, GatherError, Split};

#[derive(Debug, PartialEq)]
struct Image {
    width: usize,
    pixels: Vec<u8>,
}

impl Split for Image {
    fn size(&self) -> usize {
        self.pixels.len() / self.width
    }

    fn cut(mut self, at: usize) -> (Self, Self) {
        let pixels = self.pixels.split_off(at * self.width);
        let width = self.width;
        (self, Image { width, pixels })
    }
}

impl Gather for Image {
    fn gather(parts: Vec<Self>) -> Result<Self, GatherError> {
        let width = parts[0].width;
        if let Some(chunk) = parts.iter().position(|part| part.width != width) {
            return Err(GatherError::new(chunk, "another width"));
        }
        Ok(Image { width, pixels: parts.into_iter().flat_map(|part| part.pixels).collect() })
    }
}

impl Image {
    #[fanfold::parallel(kind = "cpu", chunks = 3)]
    fn inverted(#[chunk] self, by: u8) -> Self {
        Image { width: self.width, pixels: self.pixels.iter().map(|p| by - p).collect() }
    }
}

#[test]
fn runs() {
    let image = || Image { width: 2, pixels: (0..14).collect() };
    assert_eq!(image().inverted(20), image().inverted_serial(20));
}
