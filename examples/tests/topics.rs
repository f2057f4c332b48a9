//! Runs the examples of whole topics and checks their output.

mod program;

use program::{command, prints};

#[track_caller]
fn example(name: &str) -> String {
    prints(command(name).env_remove("FANFOLD_PROCESSES"))
}

#[test]
fn word_count_counts_all_words() {
    let lines = " 80000 the\n 40000 fox\n 40000 hen\n 40000 saw\n 20000 first\n";
    assert_eq!(example("word_count"), lines);
}

#[test]
fn monte_carlo_gives_the_same_digits_with_any_number_of_threads() {
    let out = example("monte_carlo");
    assert!(out.starts_with("pi is about 3.14"), "{out}");
    assert!(out.ends_with("three times: true\n"), "{out}");
    assert_eq!(prints(command("monte_carlo").env("FANFOLD_CPU_THREADS", "3")), out);
}

#[test]
fn split_gather_blurs_as_without_chunks() {
    let out = example("split_gather");
    assert_eq!(out.lines().count(), 13, "{out}");
    assert!(out.ends_with("as without chunks: true\n"), "{out}");
}

#[test]
fn shared_state_finds_numbers_with_many_divisors() {
    let out = example("shared_state");
    let tried = out.split(' ').next().and_then(|tried| tried.parse::<u64>().ok());
    assert!(tried.is_some_and(|tried| (20_000..=20_002).contains(&tried)), "{out}");
    let rows: Vec<_> = out.lines().filter_map(|line| line.split_once(" divisors: ")).collect();
    assert_eq!(rows.len(), 3, "{out}");
    for (divisors, number) in rows {
        let number: u64 = number.parse().expect("a number");
        assert_eq!((1..=number).filter(|n| number.is_multiple_of(*n)).count().to_string(), divisors);
    }
}

#[test]
fn pipeline_adds_all_amounts() {
    let sum: u64 = (0..100_000_u64).map(|n| n * n % 97).sum();
    assert!(example("pipeline").starts_with(&format!("100000 orders, {sum} in all\n")));
}

#[test]
fn group_models_fits_each_airport() {
    let out = example("group_models");
    assert!(out.contains(" models\n") && out.contains("per_day"), "{out}");
}

#[test]
fn thumbnails_scale_all_but_the_damaged() {
    let out = example("thumbnails");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 7, "{out}");
    assert_eq!(lines[6], "damaged.pgm: it ends early: 5 pixels of 100 x 100");
    assert!(lines[..6].iter().all(|line| line.ends_with(" bytes")), "{out}");
}

#[test]
fn python_port_prints_what_the_python_program_does() {
    let lines = "a.org: 6 words\nb.org: the page is empty\nc.org: 4 words\nlengths: [18, 0, 20]\n";
    assert_eq!(example("python_port"), lines);
}

#[test]
fn axum_handler_answers_in_time_or_says_so() {
    let out = example("axum_handler");
    let lines = "GET /factors/91: 200 7 x 13\nGET /factors/97: 200 97\nGET /factors/0: 400 0 has no factors\n\
                 a slow one: 504 it took too long\na client that left: its work has stopped\n";
    assert_eq!(out, lines);
}

#[test]
fn list_names_every_example_with_a_line() {
    let out = example("list");
    let rows: Vec<&str> = out.lines().skip(2).collect();
    assert!(rows.len() > 30 && rows.iter().all(|row| row.contains("  ")), "{out}");
    for name in ["pipeline", "scope", "thumbnails"] {
        assert!(rows.iter().any(|row| row.starts_with(name)), "{out}");
    }
}

#[test]
fn every_example_is_short() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in std::fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let lines = std::fs::read_to_string(&path).expect("it is text").lines().count();
        assert!(lines <= 130, "{}: {lines} lines", path.display());
    }
}
