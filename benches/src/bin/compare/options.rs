//! Command line options.

use std::path::PathBuf;

/// Which parts to run, and where to write their results.
pub(crate) struct Options {
    /// A Parquet file of flights, instead of the sample.
    pub(crate) data: Option<String>,
    /// Parts to run; all parts if empty.
    parts: Vec<String>,
    /// Only contests whose titles contain one of these run; all contests if empty.
    pub(crate) only: Vec<String>,
    /// The most repetitions of a contest during which other processes used the machine.
    pub(crate) again: usize,
    /// Draws earlier results again instead of measuring.
    pub(crate) draw: bool,
    /// The folder of the results.
    pub(crate) out: PathBuf,
    /// The page whose tables are rewritten.
    pub(crate) page: Option<PathBuf>,
}

impl Options {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

const USAGE: &str = "\
Compares Fanfold with other libraries, in one process.

usage: cargo run --release -p fanfold-benches --bin compare -- [OPTION ..] [PART ..]

  PART         runs only these parts
  --only TEXT  runs the contests whose titles contain TEXT, and keeps the earlier figures of the others; may be repeated
  --again N    repeats a contest, at most N times, if other processes use more than a tenth of the machine; default 2
  --data FILE  reads flights from this Parquet file instead of the sample
  --out DIR    writes PART.json and PART.svg there instead of benches/results
  --draw       draws earlier results again, and measures nothing
  --page FILE  writes the parts' tables into this page, between <!-- PART --> and <!-- /PART -->
  --help       prints this text

Each part prints its contests: the median call, the fastest and the slowest block, and the ratio to the first row.

parts:
";

/// Parses the arguments; `None` if only help was requested.
pub(crate) fn parse(mut args: impl Iterator<Item = String>, parts: &[(&str, &str)]) -> Result<Option<Options>, String> {
    let mut options = Options {
        data: None,
        parts: Vec::new(),
        only: Vec::new(),
        again: 2,
        draw: false,
        out: concat!(env!("CARGO_MANIFEST_DIR"), "/results").into(),
        page: None,
    };
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or_else(|| format!("`{arg}` needs {what}"));
        match arg.as_str() {
            "--help" | "-h" => {
                let parts: Vec<String> = parts.iter().map(|(name, about)| format!("  {name:10} {about}\n")).collect();
                print!("{USAGE}{}", parts.concat());
                return Ok(None);
            }
            "--data" => options.data = Some(value("a file")?),
            "--only" => options.only.push(value("a text")?),
            "--again" => options.again = value("a number")?.parse().map_err(|error| format!("--again: {error}"))?,
            "--out" => options.out = value("a folder")?.into(),
            "--page" => options.page = Some(value("a file")?.into()),
            "--draw" => options.draw = true,
            part if parts.iter().any(|(name, _)| *name == part) => options.parts.push(arg),
            _ => {
                let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown part `{arg}`; there are: {}; and `--help`", names.join(", ")));
            }
        }
    }
    Ok(Some(options))
}
