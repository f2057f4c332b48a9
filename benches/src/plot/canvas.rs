//! An SVG drawing area, in pixels from its upper left corner.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Sheet<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The horizontal anchor of a text.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// A white drawing area.
pub(super) struct Canvas<'a>(Sheet<'a>);

pub(super) type Drawn = Result<(), Box<dyn Error>>;

impl<'a> Canvas<'a> {
    pub(super) fn new(file: &'a Path, width: i32, height: i32) -> Result<Self, Box<dyn Error>> {
        let size = (u32::try_from(width)?, u32::try_from(height)?);
        let sheet = SVGBackend::new(file, size).into_drawing_area();
        sheet.fill(&WHITE)?;
        Ok(Self(sheet))
    }

    pub(super) fn rectangle(&self, left: i32, top: i32, width: i32, height: i32, colour: RGBColor) -> Drawn {
        let corners = [(left, top), (left + width, top + height)];
        self.0.draw(&Rectangle::new(corners, colour.filled()))?;
        Ok(())
    }

    pub(super) fn line(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Drawn {
        self.0.draw(&PathElement::new(vec![from, to], colour))?;
        Ok(())
    }

    /// Draws a text that is vertically centred on `at`.
    pub(super) fn text(&self, text: &str, at: (i32, i32), size: i32, align: Align) -> Drawn {
        let across = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(across, VPos::Center));
        self.0.draw(&Text::new(text.to_owned(), at, style))?;
        Ok(())
    }

    pub(super) fn finish(self) -> Drawn {
        self.0.present()?;
        Ok(())
    }
}
