//! Frames in chunks, rows and groups: one program, as each program with Polars takes seconds to link.

#[cfg(all(feature = "polars-lazy", feature = "tokio"))]
mod awaited_frames;
mod frame_columns;
mod frame_groups;
#[cfg(feature = "polars-lazy")]
mod frame_on_error;
#[cfg(feature = "polars-lazy")]
mod frame_overlaps_in_time;
mod frame_properties;
#[cfg(feature = "polars-lazy")]
mod frame_results;
mod frame_rows;
mod frames;
