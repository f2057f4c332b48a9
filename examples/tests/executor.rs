//! Runs the executor's examples and compares their output with values computed here.

mod program;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

use fanfold_examples::data;
use flate2::read::GzDecoder;
use program::{command, prints};

#[track_caller]
fn example(name: &str) -> String {
    prints(&mut command(name))
}

/// The text after `label` at the start of a line.
#[track_caller]
fn after<'o>(label: &str, out: &'o str) -> &'o str {
    let rest = out.lines().find_map(|line| line.trim_start().strip_prefix(label));
    rest.unwrap_or_else(|| panic!("no line starts with `{label}`: {out}")).trim()
}

#[track_caller]
fn number(label: &str, out: &str) -> u64 {
    let text = after(label, out).split_whitespace().next().unwrap_or_default();
    text.parse().unwrap_or_else(|error| panic!("`{label}`: `{text}`: {error}"))
}

/// The Miller-Rabin test, which shares no code with the examples' trial division. These bases decide every 64-bit
/// number (Sorenson and Webster, 2015).
fn is_prime(n: u64) -> bool {
    let times = |a: u64, b: u64| u64::try_from(u128::from(a) * u128::from(b) % u128::from(n)).expect("it is below n");
    let power = |mut base: u64, mut exponent: u64| {
        let mut result = 1;
        while exponent > 0 {
            if exponent % 2 == 1 {
                result = times(result, base);
            }
            base = times(base, base);
            exponent /= 2;
        }
        result
    };
    let twos = (n - 1).trailing_zeros();
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].into_iter().all(|base| {
        let mut x = power(base, (n - 1) >> twos);
        x == 1
            || (0..twos).any(|_| {
                let found = x == n - 1;
                x = times(x, x);
                found
            })
    })
}

fn collatz(start: u64) -> usize {
    let next = |n: &u64| if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
    std::iter::successors(Some(start), |n| Some(next(n))).take_while(|n| *n != 1).count()
}

#[test]
fn primes_distinguishes_primes() {
    let out = example("primes");
    let rows: Vec<(u64, &str)> = out
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(number, says)| (number.parse().expect("a number"), says))
        .collect();
    assert_eq!(rows.len(), 6, "{out}");
    for (number, says) in rows {
        assert_eq!(says, if is_prime(number) { "prime" } else { "not prime" }, "{number}");
    }
    assert_eq!(after("serial and parallel agree:", &out), "true");
    let threads = thread::available_parallelism().map_or(1, usize::from);
    assert!(after("map", &out).ends_with(&format!("on {threads} threads")), "{out}");
}

#[test]
fn completed_prints_results_in_the_order_of_the_answers() {
    let out = example("completed");
    let (ordered, limited) = out.split_once("\n\n").expect("two parts");
    let rows: Vec<String> = ordered.lines().skip(1).map(|line| line.trim().to_owned()).collect();
    assert_eq!(rows, [2, 0, 3, 1].map(|n| format!("task {n}: the answer to question {n}")), "{out}");
    let rows: Vec<&str> = limited.lines().skip(1).map(str::trim).collect();
    assert_eq!(rows[0], "task 1: \"\"", "{out}");
    assert!(rows[1].starts_with("task 0: ") && rows[1].contains("1s"), "{out}");
    assert_eq!(rows.len(), 2, "{out}");
}

#[test]
fn keys_prints_each_result_with_its_key() {
    let out = example("keys");
    for name in ["README.md", "airports.csv"] {
        let file = fs::read_to_string(data::bundled(name)).expect("it comes with the examples");
        let lines = file.matches('\n').count();
        assert_eq!(after(name, &out), format!("has {lines} lines"));
    }
    assert!(after("no-such-file.csv", &out).starts_with("cannot be read: "), "{out}");
}

#[test]
fn errors_prints_errors_and_panics_of_every_call() {
    let out = example("errors");
    let message = "no people to share 12 cakes";
    assert_eq!(after("message", &out), message);
    assert_eq!(after("function", &out), "errors::share");
    let source = include_str!("../examples/errors.rs");
    let line = 1 + source.lines().position(|line| line.contains("assert!(people > 0")).expect("it is there");
    assert!(after("location", &out).contains(&format!("errors.rs:{line}:")), "{out}");
    // `after` finds the first match, which is in the part on panics. The part on errors has its own call and join.
    let (panics, errors) = out.split_once("\n\n").expect("two parts");
    for call in ["direct call", "map"] {
        assert_eq!(after(call, panics), format!("panicked: {message}"));
    }
    assert_eq!(after("join", panics), "Panicked");
    assert_eq!(["task 0", "task 1", "task 2"].map(|task| after(task, panics)), ["returned", "panicked", "returned"]);

    let parse = |text: &str| text.parse::<u32>();
    assert_eq!(after("direct call", errors), format!("{:?}", parse("many")));
    assert_eq!(after("join", errors), format!("Ok({:?})", parse("many")));
    assert_eq!(after("Vec<Result>", errors), format!("{:?}", ["1", "2", "many"].map(parse)));
    let results: Vec<&str> = errors.lines().filter_map(|line| line.trim().strip_prefix("Result<Vec>")).collect();
    assert_eq!(results[0].trim(), format!("{:?}", parse("few")));
    assert_eq!(results[1].trim(), "Ok([1, 2, 3])");
    assert!(out.ends_with("share(12, 3) = 4\n"), "{out}");
}

#[test]
fn timeout_ends_only_slow_calls() {
    let out = example("timeout");
    assert_eq!(after("quick call:", &out), format!("{} steps", collatz(27)));
    for start in [27, 97] {
        assert_eq!(after(&format!("{start}:"), &out), format!("{} steps", collatz(start)));
    }
    for slow in ["slow call:", "0:", "timed out:"] {
        assert!(after(slow, &out).contains("500ms"), "{out}");
    }
    assert_eq!(after("it saw", &out), "`cancelled()` and returned");
    assert_eq!(after("retries:", &out), "it worked at attempt 3");
}

/// Checks the output of both request examples, and gives the most requests at once.
#[track_caller]
fn requests(name: &str) -> u64 {
    let out = example(name);
    assert_eq!(number("requests", &out), 200);
    assert_eq!(number("bytes", &out), (0..200).map(|page| 1_000 + page).sum::<u64>());
    number("most at once", &out)
}

#[test]
fn requests_run_concurrently() {
    let most = requests("requests");
    assert!((2..=200).contains(&most), "{most}");
}

#[test]
fn async_requests_are_50_at_once() {
    let most = requests("async_requests");
    assert!((2..=50).contains(&most), "{most}");
}

#[test]
fn compress_makes_its_own_files() {
    let out = example("compress");
    assert_eq!(number("files", &out), 40);
    let line = "line    0 of file  0\n".len() as u64;
    assert_eq!(number("before", &out), 40 * 1_000 * line);
    assert!(number("after", &out) < number("before", &out) / 2, "{out}");
}

#[test]
fn compressed_files_contain_the_originals() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let contents = [("empty.txt", String::new()), ("a.txt", "a".repeat(100_000)), ("noextension", "xyz".to_owned())];
    for (name, content) in &contents {
        fs::write(folder.path().join(name), content).expect("it can be written");
    }
    let out = prints(command("compress").arg(folder.path()));
    assert_eq!(number("files", &out), 3);
    assert_eq!(number("before", &out), 100_003);
    let mut packed = 0;
    for (name, content) in contents {
        let path = folder.path().join(format!("{name}.gz"));
        packed += size(&path);
        let mut unpacked = String::new();
        let file = File::open(path).expect("it was made");
        GzDecoder::new(file).read_to_string(&mut unpacked).expect("it is a whole gzip file");
        assert_eq!(unpacked, content, "{name}");
    }
    assert_eq!(number("after", &out), packed);
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("it was made").len()
}

#[test]
fn worker_state_is_made_once_for_each_worker() {
    let out = example("worker_state");
    assert_eq!(number("queries", &out), 1_000);
    assert_eq!(number("sum of squares", &out), 999 * 1_000 * (2 * 999 + 1) / 6);
    assert_eq!(number("workers", &out), 4);
    assert!((1..=4).contains(&number("connections", &out)), "{out}");
    let failed = after("`worker_state::is_open`", &out);
    assert!(failed.contains("initializer failed") && failed.contains("no-such-file.sqlite"), "{out}");
}

#[test]
fn chunk_sizes_change_no_result() {
    let out = example("chunk_size");
    // Each of the ten digits occurs 10,000 times at each of the five positions of 00000 to 99999.
    let sum = 45 * 10_000 * 5;
    for how in ["a loop", "map ", "map, chunk_size(10000)", "map, chunk_size(1)", "map, chunks(8)"] {
        assert_eq!(number(how, &out), sum, "{how}");
    }
    assert_eq!(out.lines().count(), 8, "{out}");
}

#[test]
fn worker_counts_come_from_the_nearest_source() {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let given = |cpu: Option<&str>| {
        let mut program = command("worker_counts");
        program.env("FANFOLD_IO_THREADS", "9").envs(cpu.map(|threads| ("FANFOLD_CPU_THREADS", threads)));
        program
    };
    for (mut program, cpu) in [(given(None), cores), (given(Some("5")), 5)] {
        let out = prints(&mut program);
        let counts = ["cpu", "io", "printer", "scratch"].map(|pool| number(pool, &out));
        assert_eq!(counts, [cpu, 16, 2, 1], "{out}");
        let workers: Vec<&str> = (0..4).map(|page| after(&format!("page {page} by"), &out)).collect();
        let printed = |worker| workers.iter().filter(|name| **name == worker).count();
        assert_eq!((printed("fanfold-printer-0"), printed("fanfold-printer-1")), (2, 2), "{out}");
        assert_eq!(after("doubled by `scratch`:", &out), "[2, 4, 6]");
        assert_eq!(after("printer:", &out), "4 done, 0 failed, 0 queued, 2 threads");
        assert!(after("too late:", &out).contains("cpu pool has started"), "{out}");
        assert!(after("no threads:", &out).contains("0 threads"), "{out}");
    }
    let refused = program::run(&mut given(Some("many")));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{errors}");
    assert!(errors.contains("FANFOLD_CPU_THREADS is `many`"), "{errors}");
}

#[test]
fn range_sum_matches_the_formula() {
    let out = example("range_sum");
    // Below 10^7 each of the ten digits stands at each of the seven places 10^6 times.
    let sum = 45 * 7 * 1_000_000;
    assert_eq!((number("serial", &out), number("chunked", &out)), (sum, sum));
}

#[test]
fn scope_borrows_and_returns_its_data() {
    let out = example("scope");
    let text = after("text", &out).trim_matches('"');
    assert_eq!(number("words", &out), text.split_whitespace().count() as u64);
    let longest = after("longest", &out);
    assert!(text.split_whitespace().all(|word| word.len() <= longest.len()), "{out}");
    assert!(text.split_whitespace().any(|word| word == longest), "{out}");
    let numbers: Vec<u32> = (1..=8).map(|n| if n <= 4 { n * 10 } else { n * 100 }).collect();
    assert_eq!(after("numbers", &out), format!("{numbers:?}"));
}

#[test]
fn http_handler_answers_while_it_computes() {
    let out = example("http_handler");
    let (n, says) = after("is ", &out).split_once(" prime? ").expect("it asks");
    assert_eq!(says, is_prime(n.parse().expect("a number")).to_string());
    assert!(number("requests answered while it was computed:", &out) > 0, "{out}");
}

/// With `FANFOLD_SERIAL` everything runs on the caller's thread, with the same results.
#[test]
fn serial_runs_print_the_same() {
    let serial = |name| prints(command(name).env("FANFOLD_SERIAL", "1"));
    assert_eq!(serial("keys"), example("keys"));
    assert_eq!(serial("errors"), example("errors"));
    assert_eq!(serial("scope"), example("scope"));
}
