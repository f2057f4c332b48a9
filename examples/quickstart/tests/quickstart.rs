//! Runs the quickstart and checks its output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use fanfold_quickstart::data;

/// The program, without the variables that Fanfold reads. It is killed if it takes longer than two minutes.
fn quickstart(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    for variable in ["FANFOLD_CPU_THREADS", "FANFOLD_IO_THREADS", "FANFOLD_SERIAL"] {
        command.env_remove(variable);
    }
    command.args(arguments).timeout(Duration::from_mins(2));
    command
}

fn run(arguments: &[&str]) -> Output {
    output(&mut quickstart(arguments))
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it runs to its end")
}

fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("the build's own folder can be written");
    path
}

#[track_caller]
fn prints(arguments: &[&str]) -> String {
    prints_of(&mut quickstart(arguments))
}

/// The program's standard output. It must succeed, and write nothing to standard error.
#[track_caller]
fn prints_of(command: &mut Command) -> String {
    let run = output(command);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!((run.status.code(), &*errors), (Some(0), ""));
    String::from_utf8(run.stdout).expect("it prints UTF-8")
}

/// The one-line error of the program.
#[track_caller]
fn refuses(arguments: &[&str]) -> String {
    let run = run(arguments);
    let errors = String::from_utf8(run.stderr).expect("it prints UTF-8");
    assert_eq!(run.status.code(), Some(1), "{errors}");
    assert!(run.stdout.is_empty(), "{}", String::from_utf8_lossy(&run.stdout));
    let line = errors.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "{errors}");
    line.strip_prefix("quickstart: ").expect("the error starts with the program's name").to_owned()
}

#[track_caller]
fn refuses_file(path: &Path) -> String {
    let said = refuses(&["--data", path.to_str().expect("a UTF-8 path")]);
    let rest = said.strip_prefix(&format!("`{}` ", path.display()));
    rest.expect("it names the file").to_owned()
}

#[test]
fn without_arguments_it_prints_all_results_in_100_columns() {
    let out = prints(&[]);
    for number in [112_272_535_095_293_u64, 112_582_705_942_171, 115_280_095_190_773, 115_797_848_077_099] {
        assert!(out.contains(&format!(" {number} is prime\n")), "{out}");
    }
    assert_eq!(out.matches(" is prime\n").count(), 5, "{out}");
    assert!(out.contains(" 1099726899285419 is not prime\n"), "{out}");
    assert!(out.contains(" 315000000\n"), "{out}");
    assert!(out.contains("The first 6 of 200000 flights:"), "{out}");
    assert!(out.contains("Serial and parallel results are equal."), "{out}");
    assert!(!out.contains("airports.csv"), "every airport is known: {out}");
    let table = out.lines().skip_while(|line| !line.starts_with("   function"));
    let rows: Vec<&str> = table.skip(1).take(3).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows, ["is_prime", "digit_sum", "enrich"], "{out}");
    let widest = out.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}: {out}");
}

#[test]
fn a_small_csv_file_is_enriched_and_unknown_airports_are_null() {
    let rows = "date,delay,distance,origin,destination\n\
        2001-01-01 08:00:00,60,2475,JFK,LAX\n\
        2001-01-01 20:00:00,120,2475,LAX,JFK\n\
        2001-01-01 09:00:00,5,100,???,JFK\n\
        2001-01-01 09:00:00,,2475,JFK,LAX\n";
    let out = prints(&["--data", file("small.csv", rows).to_str().expect("a UTF-8 path")]);
    assert!(out.contains("The first 4 of 4 flights:"), "{out}");
    assert!(out.contains("not in airports.csv, and so with nulls: 1\n"), "{out}");
    let table: Vec<Vec<&str>> = out
        .lines()
        .filter_map(|line| line.strip_prefix('│'))
        .skip(3) // the names, a rule and the types
        .map(|line| line.trim_end_matches('│').split('┆').map(str::trim).collect())
        .collect();
    assert_eq!(table[0][..5], ["JFK", "LAX", "60", "2469.5", "273.8"], "{out}");
    assert_eq!((table[0][6], table[0][7]), ("long", "5100.0"), "{out}");
    assert_eq!(table[1][7], "28900.0", "an evening flight: {out}");
    assert_eq!(table[2], ["???", "JFK", "5", "null", "null", "null", "null", "null"], "{out}");
    assert_eq!((table[3][2], table[3][6], table[3][7]), ("null", "long", "null"), "{out}");
}

#[test]
fn help_lists_the_options() {
    for option in ["--help", "-h"] {
        let out = prints(&[option]);
        assert!(out.contains("Usage: quickstart [--data FILE]"), "{out}");
    }
}

#[test]
fn invalid_arguments_are_errors_of_one_line() {
    assert_eq!(refuses(&["--date"]), "unknown argument `--date`: see --help");
    assert_eq!(refuses(&["flights.csv"]), "unknown argument `flights.csv`: see --help");
    assert_eq!(refuses(&["a\nb"]), "unknown argument `a\\nb`: see --help");
    assert_eq!(refuses(&["--data"]), "--data needs a file: --data FILE");
}

#[test]
fn invalid_files_are_errors_of_one_line() {
    let said = refuses_file(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such.parquet"));
    assert!(said.starts_with("cannot be opened ("), "{said}");
    let whole = fs::read(data::bundled("flights-200k.parquet")).expect("it comes with the examples");
    let said = refuses_file(&file("truncated.parquet", &whole[..whole.len() / 2]));
    assert!(said.starts_with("cannot be read (") && said.ends_with("): correct it, or get a new copy of it"), "{said}");
    // Polars panics if only the footer of a file is left.
    let holed = [&whole[..4], &whole[whole.len() - 1_000..]].concat();
    let said = refuses_file(&file("holed.parquet", holed));
    assert_eq!(said, "is damaged: get a new copy of it");
    let said = refuses_file(&file("no-column.csv", "date,delay,distance,origin\n2001-01-01 08:00:00,1,2,JFK\n"));
    assert_eq!(said, "has no column `destination`: it must have date, delay, distance, origin, destination");
    assert_eq!(refuses_file(&file("flights.txt", "")), "is neither .parquet nor .csv: give one of these");
}

#[test]
fn a_report_is_written() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let picture = folder.path().join("report.svg");
    let path = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned();
    let out = prints(&["--report", &path(&picture)]);
    assert!(out.contains("worker") && out.contains("enrich_quietly"), "{out}");
    let picture = fs::read_to_string(picture).expect("it was written");
    assert!(picture.starts_with("<svg") && picture.contains("enrich_quietly: chunk of "), "{picture}");
    assert_eq!(refuses(&["--report", "report.png"]), "--report writes .svg or .json, and not `report.png`");
    assert_eq!(refuses(&["--report"]), "--report needs a file: --report FILE.svg");
    let run = run(&["--report", &path(&folder.path().join("none/report.svg"))]);
    assert!(String::from_utf8_lossy(&run.stderr).contains("report.svg` cannot be written: "));
}
