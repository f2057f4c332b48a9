//! What the operating system may refuse to a program that starts worker processes: the error says what it was and what to
//! do, and what can be done without it is done.
//!
//! Each test runs in a process of its own: this program once more, which is refused something.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{self, Command};

use fanfold::{Pool, Receiver, Sender, TaskError, channel, parallel};

fanfold::process_tests!();

/// Set in the process that runs a test's body.
const BODY: &str = "FANFOLD_TEST_BODY";

/// Runs the test's body in a process of its own.
fn alone(test: &str, body: fn()) {
    if std::env::var_os(BODY).is_some() {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    // Through pipes: a standard output that is a long file would be beyond a limit of files' lengths.
    let output = child.args([test, "--exact", "--nocapture"]).env(BODY, "yes").output();
    let output = output.expect("it can be started again");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

static WORKERS: Pool = Pool::process("workers").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn double(n: u32) -> Result<u32, TaskError> {
    match n {
        0 => process::abort(),
        n => Ok(2 * n),
    }
}

/// Has the system answer the call of this number with an error, to this thread and all that it starts.
fn refuse(call: libc::c_long, error: i32) {
    let statement = |code: u32, k: u32, on_true: u8, on_false: u8| libc::sock_filter {
        code: u16::try_from(code).expect("it is short"),
        jt: on_true,
        jf: on_false,
        k,
    };
    let number = u32::try_from(call).expect("a number of a system call");
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error.cast_unsigned(), 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: a filter that is alive, of the length that is said.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// Every way to call fails, and each error says all of this.
#[track_caller]
fn fails_and_says(expected: &[&str]) {
    let submitted = double::submit(1).join().expect_err("it is refused").to_string();
    let direct = double(1).expect_err("it is refused").to_string();
    let item = double::map([1]).collect::<Vec<_>>().pop().expect("one item").expect_err("it is refused").to_string();
    for said in [submitted, direct, item] {
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("init()"), "{said}");
    }
}

#[test]
fn shared_memory_that_a_sandbox_denies() {
    alone("shared_memory_that_a_sandbox_denies", || {
        refuse(libc::SYS_memfd_create, libc::EPERM);
        fails_and_says(&["shared memory (memfd_create)", "Operation not permitted", "seccomp"]);
    });
}

#[test]
fn sockets_that_a_sandbox_denies() {
    alone("sockets_that_a_sandbox_denies", || {
        refuse(libc::SYS_socketpair, libc::ENOSYS);
        fails_and_says(&["a pair of sockets (socketpair)", "not implemented", "seccomp"]);
        let panic = std::panic::catch_unwind(channel::<u32>).expect_err("it is refused");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("socketpair") && message.contains("seccomp"), "{message}");
    });
}

#[test]
fn processes_that_a_sandbox_denies() {
    alone("processes_that_a_sandbox_denies", || {
        refuse(libc::SYS_execve, libc::EACCES);
        fails_and_says(&["to run this program once more", "Permission denied", "noexec"]);
    });
}

#[test]
fn memory_limits_that_a_sandbox_denies() {
    static LIMITED: Pool = Pool::process("limited").threads(1).memory_limit(1 << 30);
    #[parallel(kind = "process", pool = LIMITED)]
    fn limited() -> Result<u32, TaskError> {
        Ok(1)
    }
    alone("memory_limits_that_a_sandbox_denies", || {
        refuse(libc::SYS_prlimit64, libc::EPERM);
        let error = limited().expect_err("it is refused").to_string();
        assert!(error.contains("a memory limit (setrlimit)") && error.contains("seccomp"), "{error}");
    });
}

#[test]
fn a_kernel_without_pidfds_does() {
    alone("a_kernel_without_pidfds_does", || {
        refuse(libc::SYS_pidfd_open, libc::ENOSYS);
        for _ in 0..3 {
            assert_eq!(double(21).expect("no pidfd is needed"), 42);
            let error = double(0).expect_err("it aborts");
            assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), .. }), "{error}");
            let error = double::submit(0).join().expect_err("it aborts");
            assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), .. }), "{error}");
        }
    });
}

#[test]
fn a_status_that_nobody_has_is_called_unknown() {
    alone("a_status_that_nobody_has_is_called_unknown", || {
        // Kernels since 6.15 tell it with the pidfd, by this call.
        refuse(libc::SYS_ioctl, libc::ENOTTY);
        // SAFETY: a signal, and what to do about it.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let error = double(0).expect_err("it aborts");
        let TaskError::WorkerDied { signal: None, code: None, message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains("how is unknown") && message.contains("SIGCHLD"), "{message}");
        assert_eq!(double(4).expect("another worker"), 8);
    });
}

/// Whether this process may change its root and mounts.
fn is_root() -> bool {
    // SAFETY: it only asks.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("left out: it wants root");
    }
    root
}

#[test]
fn a_system_without_proc() {
    alone("a_system_without_proc", || {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let path = std::ffi::CString::new(folder.path().to_str().expect("UTF-8")).expect("no NUL");
        // SAFETY: a path that is alive.
        if unsafe { libc::chroot(path.as_ptr()) } != 0 {
            return eprintln!("left out: {}", std::io::Error::last_os_error());
        }
        fails_and_says(&["/proc/self/exe", "`/proc` is not mounted"]);
        // The folder is out of reach: the parent's temporary folder keeps it, empty.
        std::mem::forget(folder);
    });
}

#[test]
fn a_system_without_dev_null() {
    alone("a_system_without_dev_null", || {
        if !is_root() {
            return;
        }
        // SAFETY: names that are alive; the mounts are of this process and its children alone.
        let mounted = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ) == 0
                && libc::mount(c"none".as_ptr(), c"/dev".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) == 0
        };
        if !mounted {
            return eprintln!("left out: {}", std::io::Error::last_os_error());
        }
        assert!(fs::metadata("/dev/null").is_err());
        assert_eq!(double(4).expect("it is not needed"), 8);
    });
}

#[test]
fn a_program_without_standard_streams() {
    alone("a_program_without_standard_streams", || {
        // SAFETY: nobody uses them here.
        (0..3).for_each(|fd| _ = unsafe { libc::close(fd) });
        let doubled = (1..5).map(|n| double(n).ok()).collect::<Vec<_>>();
        let died = double(0).is_err_and(|error| matches!(error, TaskError::WorkerDied { signal: Some(6), .. }));
        // Nothing can be printed.
        process::exit(i32::from(doubled != [Some(2), Some(4), Some(6), Some(8)] || !died));
    });
}

#[test]
fn a_user_that_may_have_no_more_processes() {
    alone("a_user_that_may_have_no_more_processes", || {
        if !is_root() {
            return;
        }
        // The threads are there; its workers are not.
        assert!(double(0).is_err());
        let user = 200_000 + process::id();
        // SAFETY: numbers, and limits that are alive. The limit is that of a user of this test's own.
        let (limited, limit) = unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            assert_eq!(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit), 0);
            let few = libc::rlimit { rlim_cur: 1, ..limit };
            let changed = libc::setresuid(user, user, user) == 0;
            (changed && libc::setrlimit(libc::RLIMIT_NPROC, &raw const few) == 0, limit)
        };
        if !limited {
            return eprintln!("left out: {}", std::io::Error::last_os_error());
        }
        fails_and_says(&["/proc/self/exe", "Resource temporarily unavailable", "RLIMIT_NPROC"]);
        // SAFETY: a limit that is alive.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) }, 0);
        assert_eq!(double(4).expect("there may be processes again"), 8);
    });
}

#[parallel(kind = "process", pool = WORKERS)]
fn forbid_all_files() -> Result<u32, TaskError> {
    limit_files(0);
    Ok(process::id())
}

#[test]
fn a_task_that_forbids_itself_all_files_leaves_no_thread_that_spins() {
    alone("a_task_that_forbids_itself_all_files_leaves_no_thread_that_spins", || {
        let pid = forbid_all_files().expect("it may");
        // The state of a thread that spins is `R`, however little of a busy machine it gets.
        let runs = || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
            let stats = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
            stats.filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'))).count() > 0
        };
        // The watching thread polls once a second: the first poll after the limit is over by then.
        let begun = std::time::Instant::now();
        let (mut seen, mut running) = (0, 0);
        while begun.elapsed().as_secs() < 3 {
            if begun.elapsed().as_millis() > 1_500 {
                seen += 1;
                running += usize::from(runs());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(running <= seen / 2, "{running} of {seen}");
    });
}

#[test]
fn an_address_space_that_is_used_up() {
    // One thread: with two, the call that aborts may run on the second one's worker, and the first one's lives on.
    static SINGLE: Pool = Pool::process("single").threads(1);
    #[parallel(kind = "process", pool = SINGLE)]
    fn triple(n: u32) -> Result<u32, TaskError> {
        if n == 0 { process::abort() } else { Ok(3 * n) }
    }
    alone("an_address_space_that_is_used_up", || {
        // The pool's threads are there; its workers are not.
        assert_eq!(triple(1).expect("there is memory"), 3);
        assert!(triple(0).is_err());
        // A thread that has just begun maps the stack of its signal handlers: it aborts where that is refused.
        wait_until_others_sleep();
        let pages = fs::read_to_string("/proc/self/statm").expect("it can be read");
        let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
        // The ring of a worker takes 530 kB.
        let limit = libc::rlimit { rlim_cur: pages * 4096 + (64 << 10), rlim_max: libc::RLIM_INFINITY };
        let mut filled = Vec::new();
        // SAFETY: a limit that is alive.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        // What was free within the limit is taken, so that the next mapping is refused.
        while let Some(mapping) = map(64 << 10) {
            filled.push(mapping);
        }
        let errors = [triple(1).map_err(|error| error.to_string())];
        let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: a limit that is alive.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let [Err(said)] = errors else { panic!("nothing was refused") };
        assert!(said.contains("(mmap)") && said.contains("address space") && said.contains("ulimit -v"), "{said}");
        assert_eq!(triple(2).expect("there is memory again"), 6);
    });
}

/// Waits until all other threads of this process sleep.
fn wait_until_others_sleep() {
    // SAFETY: no arguments.
    let own = unsafe { libc::gettid() }.to_string();
    let is_busy = || {
        let threads = fs::read_dir("/proc/self/task").expect("it can be read").flatten();
        let others = threads.filter(|thread| *thread.file_name() != *own);
        let stats: Vec<_> = others.map(|thread| fs::read_to_string(thread.path().join("stat"))).collect();
        // What cannot be read has ended.
        stats.iter().flatten().any(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')))
    };
    let begun = std::time::Instant::now();
    while is_busy() {
        assert!(begun.elapsed().as_secs() < 60, "a thread never sleeps");
        std::thread::yield_now();
    }
}

fn map(len: usize) -> Option<*mut libc::c_void> {
    let (access, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the system's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start)
}

#[parallel(kind = "process", pool = WORKERS)]
fn sum(receivers: Vec<Receiver<u32>>, total: Sender<u32>) -> Result<usize, TaskError> {
    let all: u32 = receivers.iter().map(|receiver| receiver.recv().expect("it was sent")).sum();
    total.send(all).expect("the test listens");
    Ok(receivers.len())
}

fn limit_files(limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: a limit that is alive.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// A call with so many channels among its arguments.
fn call_with(count: u32) -> Result<usize, TaskError> {
    let (total, totals) = channel();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
    (0..).zip(&senders).for_each(|(n, sender)| sender.send(n).expect("there is room"));
    let result = sum(receivers, total);
    if result.is_ok() {
        assert_eq!(totals.recv().expect("it was sent"), (0..count).sum::<u32>());
    }
    result
}

#[test]
fn many_channels_in_a_call() {
    alone("many_channels_in_a_call", || {
        limit_files(4_000);
        for count in [1, 16, 17, 199] {
            assert_eq!(call_with(count).expect("there are files enough"), count as usize);
        }
        for count in [201, 300, 1_000] {
            let said = call_with(count).expect_err("they are too many for one call").to_string();
            assert!(said.contains("more than 200 ends of channels") && said.contains("several calls"), "{said}");
        }
        limit_files(500);
        // Here there are files enough, but not for a second handle to each, which goes to the worker.
        let said = call_with(180).expect_err("there are not").to_string();
        assert!(said.contains("(dup)") && said.contains("RLIMIT_NOFILE"), "{said}");
        assert_eq!(double(4).expect("the pool works on"), 8);
    });
}

#[test]
fn more_channels_than_a_worker_may_have_files() {
    static FEW: Pool = Pool::process("few").threads(1);
    #[parallel(kind = "process", pool = FEW)]
    fn limit_itself() -> Result<u32, TaskError> {
        limit_files(64);
        Ok(process::id())
    }
    #[parallel(kind = "process", pool = FEW)]
    fn count(receivers: Vec<Receiver<u32>>) -> Result<(usize, u32), TaskError> {
        Ok((receivers.len(), process::id()))
    }
    alone("more_channels_than_a_worker_may_have_files", || {
        let before = limit_itself().expect("it may");
        let (_senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| channel()).unzip();
        let said = count(receivers).expect_err("the worker may not have as many").to_string();
        assert!(said.contains("RLIMIT_NOFILE"), "{said}");
        // Another worker has the limit of the program.
        let (_senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| channel()).unzip();
        let (received, after) = count(receivers).expect("there are files enough");
        assert!(received == 100 && after != before);
    });
}

#[parallel(kind = "process", pool = WORKERS)]
fn zeros(len: usize, beside: Vec<u8>) -> Result<Vec<u8>, TaskError> {
    Ok(vec![0; len + beside.len()])
}

fn limit_file_size(limit: u64) {
    // SAFETY: room for a limit, and a limit.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut now), 0);
        now.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const now), 0);
    }
}

#[test]
fn files_that_may_not_be_long() {
    alone("files_that_may_not_be_long", || {
        limit_file_size(64 << 10);
        fails_and_says(&["memfd_create", "File too large", "RLIMIT_FSIZE"]);
        // The rings of a worker take 530 kB, a block 1 MiB at least.
        limit_file_size(600 << 10);
        assert_eq!(double(1).expect("there may be workers"), 2);
        for (len, beside) in [(100_000, Vec::new()), (0, vec![0; 100_000])] {
            let said = zeros(len, beside).expect_err("it needs a block").to_string();
            assert!(said.contains("RLIMIT_FSIZE"), "{said}");
        }
        let (sender, _receiver) = channel();
        let said = sender.send(vec![0_u8; 700_000]).expect_err("it goes in memory of its own").to_string();
        assert!(said.contains("RLIMIT_FSIZE"), "{said}");
        assert_eq!(double(2).expect("its worker lives"), 4);
    });
}
