//! What the command line says.

use std::path::PathBuf;

/// What to run, and where to put what it measured.
pub(crate) struct Options {
    /// A Parquet file of flights, instead of the sample.
    pub(crate) data: Option<String>,
    /// Parts to run; all, if there are none.
    parts: Vec<String>,
    /// Contests whose titles hold one of these run; all, if there are none.
    pub(crate) only: Vec<String>,
    /// How often a contest is run again at most, when others have used the machine meanwhile.
    pub(crate) again: usize,
    /// Nothing is measured: what was measured is drawn again.
    pub(crate) draw: bool,
    /// The folder of what was measured.
    pub(crate) out: PathBuf,
    /// The page whose tables are written anew.
    pub(crate) page: Option<PathBuf>,
}

impl Options {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

const USAGE: &str = "\
Fanfold beside its peers, in one process.

usage: cargo run --release -p fanfold-benches --bin compare -- [OPTION ..] [PART ..]

  PART         runs these parts; all of them without any
  --only TEXT  runs the contests whose titles hold TEXT, and keeps the others' earlier figures; may be repeated
  --again N    runs a contest again, N times at most, while others use more than a tenth of the machine: 2 if not said
  --data FILE  reads flights from this Parquet file, in place of the sample
  --out DIR    writes PART.json and PART.svg there, in place of benches/results
  --draw       measures nothing: draws again what was measured
  --page FILE  writes the parts' tables into this page, between <!-- PART --> and <!-- /PART -->
  --help       says this

Each part prints its contests: the median call, the fastest and the slowest block, and the ratio to the first row.

parts:
";

/// Nothing, if only help was asked for.
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
