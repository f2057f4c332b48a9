//! Scans of files and queries, and sinks: one program, as each program with Polars takes seconds to link.

mod frame_scans;
mod partitioned_sinks;
mod scan_errors;
mod scan_groups;
mod scan_nested;
mod scan_overlaps;
mod scan_queries;
mod scan_sources;
mod scan_steps;
mod sink_files;
