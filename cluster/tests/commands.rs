//! The commands and connections that fail: each with one clear line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanfold::{TaskError, parallel};
use fanfold_cluster::{Cluster, LocalCluster};

fanfold_cluster::cluster_tests!();

#[parallel(kind = "cluster")]
fn square(n: u64) -> Result<u64, TaskError> {
    Ok(n * n)
}

/// A process that is killed at the end.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program as a part of a cluster.
fn part(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.arg("cluster").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the command says on its standard error, which is one line, and that it fails.
fn failure(arguments: &[&str]) -> String {
    let output = part(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let said = failure(&["scheduler", "--port", &port]);
    assert!(said.contains(&port) && said.contains("in use") && said.contains("--port"), "{said}");
    let said = failure(&["executor", "--port", &port]);
    assert!(said.contains(&port) && said.contains("in use") && said.contains("--port"), "{said}");
}

#[test]
fn a_work_folder_that_cannot_be_written_to_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    fs::write(&file, "").expect("there is room");
    let said = failure(&["executor", "--work-dir", &file.to_string_lossy()]);
    assert!(said.contains("a file") && said.contains("--work-dir"), "{said}");
}

#[test]
fn wrong_options_and_addresses_are_named() {
    assert!(failure(&["executor", "--slots", "many"]).contains("--slots many"));
    assert!(failure(&["executor", "--scheduler", "http://x"]).contains("df://host:"));
    let error = Cluster::connect("http://127.0.0.1:1").expect_err("it is no address").to_string();
    assert!(error.contains("df://host:"), "{error}");
    let unused = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = format!("df://{}", unused.local_addr().expect("it is bound"));
    drop(unused);
    let error = Cluster::connect(&address).expect_err("nothing is there").to_string();
    assert!(error.contains(&address) && error.contains("cluster scheduler"), "{error}");
}

/// Starts a scheduler at a free port, and reads that from its log.
fn scheduler() -> (Part, String) {
    let mut scheduler = Part(part(&["scheduler", "--port", "0"]).spawn().expect("it starts"));
    let log = scheduler.0.stderr.take().expect("it is a pipe");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("df://")).expect("it says where it listens");
    // The log has to be read to its end, or the scheduler would wait.
    std::thread::spawn(move || lines.count());
    let address = line.split("df://").nth(1).and_then(|rest| rest.split(',').next()).expect("an address");
    (scheduler, format!("df://{address}"))
}

#[test]
fn a_scheduler_without_executors_is_an_error_in_time() {
    let (_scheduler, address) = scheduler();
    let options = Cluster::options().wait_for_executors(Duration::from_millis(300));
    let error = options.connect(&address).expect_err("there is none").to_string();
    assert!(error.contains("has no executors") && error.contains("cluster executor"), "{error}");
}

/// A copy of this program with another build id.
fn other_build(path: &Path) {
    fs::copy(std::env::current_exe().expect("it has a path"), path).expect("there is room");
    let mut file = File::options().read(true).write(true).open(path).expect("it was copied");
    let mut head = vec![0; 1 << 16];
    file.read_exact(&mut head).expect("it is longer");
    let note = head.windows(4).position(|bytes| bytes == b"GNU\0").expect("it has notes");
    // The first note is that of the ABI; the hash is in the next one.
    let hash = head[note + 4..].windows(4).position(|bytes| bytes == b"GNU\0").expect("it has a hash") + note + 8;
    file.seek(SeekFrom::Start(hash as u64)).expect("it is a file");
    file.write_all(&[!head[hash]]).expect("there is room");
}

#[test]
#[cfg(target_os = "linux")]
fn another_build_is_refused() {
    let (_scheduler, address) = scheduler();
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("other");
    other_build(&program);
    let mut command = Command::new(&program);
    command.args(["cluster", "executor", "--scheduler", &address, "--slots", "1"]);
    let _executor = Part(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let cluster = Cluster::connect(&address).expect("it has an executor");
    let outcome: Result<Vec<u64>, TaskError> = square::map(0..3).on(&cluster).collect();
    let error = outcome.expect_err("it is another build").to_string();
    assert!(error.contains("another build") && error.contains("square"), "{error}");
}

#[test]
fn a_cluster_needs_executors() {
    assert!(LocalCluster::start(0).expect_err("it has none").to_string().contains("at least one"));
}
