//! Runs the quickstart and checks its output.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use fanfold_examples::data;

fn quickstart(arguments: &[&str]) -> Command {
    let mut command = program::command("quickstart");
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program::run(&mut quickstart(arguments))
}

fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("the build's own folder can be written");
    path
}

#[track_caller]
fn prints(arguments: &[&str]) -> String {
    program::prints(&mut quickstart(arguments))
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
