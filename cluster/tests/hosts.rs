//! Several hosts: network namespaces with an executor each, joined by a bridge. Needs the rights to make them.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::{TaskError, parallel};
use fanfold_cluster::Cluster;

fanfold_cluster::cluster_tests!();

/// Items of each job.
const ITEMS: u64 = 40;

/// Tells the test by a file that it runs, and on which host: the name of a file is the item's, and its contents the
/// address of a network device of the namespace.
#[parallel(kind = "cluster")]
fn slow_square(n: u64, folder: PathBuf) -> Result<u64, TaskError> {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let host = ["ff-a", "ff-b"].into_iter().find(|host| devices.contains(&format!("{host}1")));
    std::fs::write(folder.join(format!("{n}-{}", host.unwrap_or("?"))), "").expect("the folder is there");
    std::thread::sleep(Duration::from_millis(50));
    Ok(n * n)
}

/// Runs `ip` with these arguments.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("there is no `ip`: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("`ip {arguments}`: {said}")) }
}

/// Two hosts, `ff-a` and `ff-b`, and this one, joined by a bridge. They are removed at the end.
struct Hosts;

impl Hosts {
    fn make() -> Result<Self, String> {
        let hosts = Self;
        Self::remove();
        ip("link add ff-bridge type bridge")?;
        ip("address add 10.231.77.1/24 dev ff-bridge")?;
        ip("link set ff-bridge up")?;
        for (host, address) in [("ff-a", "10.231.77.2"), ("ff-b", "10.231.77.3")] {
            ip(&format!("netns add {host}"))?;
            ip(&format!("link add {host}0 type veth peer name {host}1"))?;
            ip(&format!("link set {host}0 master ff-bridge"))?;
            ip(&format!("link set {host}0 up"))?;
            ip(&format!("link set {host}1 netns {host}"))?;
            ip(&format!("-n {host} address add {address}/24 dev {host}1"))?;
            ip(&format!("-n {host} link set {host}1 up"))?;
            ip(&format!("-n {host} link set lo up"))?;
        }
        Ok(hosts)
    }

    fn remove() {
        for what in ["netns del ff-a", "netns del ff-b", "link del ff-a0", "link del ff-b0", "link del ff-bridge"] {
            // What is not there need not be removed.
            let _ = ip(what);
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        Self::remove();
    }
}

/// A process that is killed at the end.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> PathBuf {
    std::env::current_exe().expect("it has a path")
}

fn scheduler() -> (Part, String) {
    let mut command = Command::new(program());
    command.args(["cluster", "scheduler", "--bind", "10.231.77.1", "--port", "0"]);
    let mut scheduler = Part(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let log = scheduler.0.stderr.take().expect("it is a pipe");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("df://")).expect("it says where it listens");
    std::thread::spawn(move || lines.count());
    let address = line.split("df://").nth(1).and_then(|rest| rest.split(',').next()).expect("an address");
    (scheduler, format!("df://{address}"))
}

fn executor(host: &str, bind: &str, scheduler: &str) -> Part {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program());
    command.args(["cluster", "executor", "--scheduler", scheduler, "--bind", bind, "--slots", "2"]);
    Part(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
}

/// The hosts that have begun items, by the files that those have written.
fn hosts_of_items(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("it is there").flatten().map(|file| file.file_name());
    names.filter_map(|name| Some(name.to_string_lossy().split_once('-')?.1.to_owned())).collect()
}

#[test]
fn hosts_share_the_work_and_may_lose_their_network() {
    let hosts = match Hosts::make() {
        Ok(hosts) => hosts,
        Err(why) => {
            drop(Hosts);
            println!("skipped, as no network namespaces can be made: {why}");
            return;
        }
    };
    let (_scheduler, address) = scheduler();
    let _executors = [executor("ff-a", "10.231.77.2", &address), executor("ff-b", "10.231.77.3", &address)];
    let cluster = Cluster::options().storage("").connect(&address).expect("it runs");
    let squares = |outcomes: Vec<Result<u64, TaskError>>| {
        outcomes.into_iter().map(|outcome| outcome.expect("every item has a result")).collect::<Vec<u64>>()
    };
    let expected: Vec<u64> = (0..ITEMS).map(|n| n * n).collect();
    let items = |folder: &Path| (0..ITEMS).map(|n| (n, folder.to_owned())).collect::<Vec<_>>();

    // The second executor may be ready a little later.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let outcomes = slow_square::map(items(folder.path())).on(&cluster).chunk_size(1).collect();
        assert_eq!(squares(outcomes), expected);
        let ran = hosts_of_items(folder.path());
        if ["ff-a", "ff-b"].iter().all(|host| ran.iter().any(|ran| ran == host)) {
            break;
        }
        assert!(Instant::now() < deadline, "only some hosts work: {ran:?}");
    }

    let folder = tempfile::tempdir().expect("a folder");
    let job = slow_square::map(items(folder.path())).on(&cluster).chunk_size(1);
    let outcomes = std::thread::scope(|scope| {
        let job = scope.spawn(|| job.collect::<Vec<_>>());
        let deadline = Instant::now() + Duration::from_secs(30);
        while hosts_of_items(folder.path()).len() < 8 {
            assert!(Instant::now() < deadline, "no items begin");
            std::thread::yield_now();
        }
        ip("link set ff-a0 down").expect("it is up");
        job.join().expect("the map does not panic")
    });
    assert_eq!(squares(outcomes), expected);
    drop(hosts);
}
