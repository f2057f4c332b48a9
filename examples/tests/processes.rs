//! Runs the examples of worker processes and checks their output.

mod program;

use program::{command, prints, run};

#[track_caller]
fn example(name: &str) -> String {
    prints(command(name).env_remove("FANFOLD_PROCESSES"))
}

#[test]
fn processes_prints_primes_and_a_sum() {
    let out = example("processes");
    assert_eq!(out.matches("  prime ").count(), 5, "{out}");
    assert!(out.contains("1099726899285419  not prime"), "{out}");
    assert!(out.contains("sum of 0..100000000: 4999999950000000\n"), "{out}");
    let own = out.lines().find_map(|line| line.strip_prefix("this process: ")).expect("it says so");
    assert!(!out.contains(&format!("by process {own}\n")), "{out}");
}

#[test]
fn process_crash_fails_one_task() {
    let run = run(&mut command("process_crash"));
    let out = String::from_utf8(run.stdout).expect("it prints UTF-8");
    assert!(run.status.success(), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "\"one two three\": 3 words",
            "\"four\": 1 words",
            "\"bad\\0input\": died of signal 6",
            "\"five six\": 2 words",
            "afterwards: 6 words"
        ]
    );
}

#[test]
fn process_timeout_kills_an_endless_loop() {
    let out = example("process_timeout");
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines, ["6: 8 steps", "27: 111 steps", "0: the task was not done within 200ms", "97: 118 steps"]);
}

#[test]
fn process_channel_counts_all_letters() {
    assert_eq!(example("process_channel"), "30 letters\n");
}

#[test]
fn process_frame_runs_in_other_processes() {
    let out = example("process_frame");
    assert!(out.starts_with("1000000 rows in "), "{out}");
    assert!(out.contains("sum of squares: Some(3.333328"), "{out}");
    assert!(out.ends_with("this one among them: false\n"), "{out}");
}

#[test]
fn process_state_has_one_dictionary_for_each_process() {
    let out = example("process_state");
    assert!(out.starts_with("eins: one\nzwei: two\ndrei: three\nvier: ?\n"), "{out}");
    assert!(out.ends_with("dictionaries with three words: true\n"), "{out}");
    let processes = out.lines().find_map(|line| line.strip_prefix("processes with a dictionary: "));
    assert!(matches!(processes, Some("1" | "2")), "{out}");
}

#[test]
fn process_output_shows_the_output_of_workers() {
    let run = run(&mut command("process_output"));
    assert!(run.status.success());
    let out = String::from_utf8(run.stdout).expect("it prints UTF-8");
    assert!(out.starts_with("worker: HELLO\nmain: "), "{out}");
    assert_eq!(String::from_utf8_lossy(&run.stderr), "worker: this goes to standard error\n");
}
