//! Functions of `kind = "cluster"` in a program without a cluster engine.

use fanfold::parallel;

fanfold::process_tests!();

#[parallel(kind = "cluster")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "cluster", chunks = 3)]
fn doubled(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|number| 2 * number).collect()
}

#[test]
fn without_a_cluster_worker_processes_run_them() {
    assert_eq!(square(7), 49);
    assert_eq!(square::map(0..4).collect::<Vec<u64>>(), [0, 1, 4, 9]);
    assert_eq!(doubled(vec![1, 2, 3, 4]), [2, 4, 6, 8]);
    assert!(square::task().function().ends_with("::square"));
}

#[test]
fn with_a_cluster_and_no_engine_a_call_says_what_to_do() {
    let mut program = std::process::Command::new(std::env::current_exe().expect("it has a path"));
    program.args(["--exact", "calls_square", "--ignored", "--nocapture"]).env("FANFOLD_CLUSTER", "df://there:1");
    let output = program.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("`FANFOLD_CLUSTER=df://there:1`") || said.contains("FANFOLD_CLUSTER=`df://there:1`"),
        "{said}"
    );
    assert!(said.contains("call `fanfold_cluster::init()` first in `main`"), "{said}");
}

#[test]
#[ignore = "a program of the test above"]
fn calls_square() {
    square(7);
}
