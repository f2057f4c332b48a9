//! System calls that fail for a program with worker processes: the error names the call and what to do, and everything
//! that can work without the call works.
//!
//! Each test runs in a process of its own: this program runs itself under the restriction.
#![cfg(target_os = "linux")]
#![cfg_attr(fanfold_portable, allow(dead_code, reason = "some tests are left out"))]

use std::fs;
use std::process::{self, Command};

use fanfold::shared::Flag;
use fanfold::{ChannelError, Pool, Receiver, Sender, TaskError, channel, channel_bounded, parallel};

fanfold::process_tests!();

/// Set in the process that runs the body of a test.
const IN_CHILD: &str = "FANFOLD_TEST_BODY";

/// Runs the body of the test in a process of its own.
fn in_child(test: &str, body: fn()) {
    if std::env::var_os(IN_CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    // Through pipes: the limit on file sizes would also apply to a long standard output that is a file.
    let output = child.args([test, "--exact", "--nocapture"]).env(IN_CHILD, "yes").output();
    let output = output.expect("this program starts again");
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

/// Makes the system call of this number fail with `error` on this thread and all that it starts.
fn deny(call: libc::c_long, error: i32) {
    deny_with(call, error, 0);
}

/// Makes the system call of this number fail with `error` on all threads.
fn deny_everywhere(call: libc::c_long, error: i32) {
    deny_with(call, error, libc::SECCOMP_FILTER_FLAG_TSYNC);
}

fn deny_with(call: libc::c_long, error: i32, flags: libc::c_ulong) {
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
    // SAFETY: `program` points to the filter, which is alive, and has its length.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::SECCOMP_SET_MODE_FILTER;
        assert_eq!(libc::syscall(libc::SYS_seccomp, set, flags, &raw const program), 0);
    }
}

/// Fails every way to call, and checks that each error contains all parts.
#[track_caller]
fn assert_fails_with(expected: &[&str]) {
    let submitted = double::submit(1).join().expect_err("it is refused").to_string();
    let direct = double(1).expect_err("it is refused").to_string();
    let item = double::map([1]).collect::<Vec<_>>().pop().expect("one item").expect_err("it is refused").to_string();
    for text in [submitted, direct, item] {
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains("init()"), "{text}");
    }
}

#[cfg(not(fanfold_portable))] // no other memory than `memfd`
#[test]
fn denied_shared_memory_is_named() {
    in_child("denied_shared_memory_is_named", || {
        deny(libc::SYS_memfd_create, libc::EPERM);
        assert_fails_with(&["shared memory (memfd_create)", "Operation not permitted", "seccomp"]);
    });
}

/// Where there is no `memfd`, shared memory has a name for a moment.
#[cfg(fanfold_portable)]
#[test]
fn no_name_of_shared_memory_stays_when_its_maker_is_killed() {
    #[parallel(kind = "process", pool = WORKERS, timeout = "5ms")]
    fn makes_memory() -> Result<(), TaskError> {
        loop {
            drop(fanfold::shared::Counter::new(0));
        }
    }
    fn names() -> Vec<std::ffi::OsString> {
        let files = fs::read_dir("/dev/shm").expect("it can be read").flatten().map(|file| file.file_name());
        files.filter(|name| name.to_string_lossy().starts_with("fanfold-shm-")).collect()
    }
    in_child("no_name_of_shared_memory_stays_when_its_maker_is_killed", || {
        deny(libc::SYS_memfd_create, libc::EPERM);
        let before = names();
        assert_eq!(double(1).expect("it needs no memfd"), 2);
        for _ in 0..50 {
            assert!(matches!(makes_memory(), Err(TaskError::TimedOut { .. })));
        }
        // Names of processes that live are there for a moment, again and again.
        let mut left = names();
        left.retain(|name| !before.contains(name));
        let begun = std::time::Instant::now();
        while !left.is_empty() {
            assert!(begun.elapsed().as_secs() < 20, "{left:?}");
            let now = names();
            left.retain(|name| now.contains(name));
            std::thread::yield_now();
        }
    });
}

#[cfg(not(fanfold_portable))] // a channel is a socket
#[test]
fn denied_sockets_are_named() {
    in_child("denied_sockets_are_named", || {
        deny(libc::SYS_socketpair, libc::ENOSYS);
        assert_fails_with(&["a pair of sockets (socketpair)", "not implemented", "seccomp"]);
        // Between threads a channel needs none.
        let (sender, receiver) = channel();
        std::thread::spawn(move || sender.send(1)).join().expect("no panic").expect("there is a place");
        assert_eq!(receiver.recv(), Ok(1));
    });
}

#[test]
fn denied_processes_are_named() {
    in_child("denied_processes_are_named", || {
        deny(libc::SYS_execve, libc::EACCES);
        assert_fails_with(&["to run this program once more", "Permission denied", "noexec"]);
    });
}

#[test]
fn denied_memory_limits_are_named() {
    static LIMITED: Pool = Pool::process("limited").threads(1).memory_limit(1 << 30);
    #[parallel(kind = "process", pool = LIMITED)]
    fn limited() -> Result<u32, TaskError> {
        Ok(1)
    }
    in_child("denied_memory_limits_are_named", || {
        deny(libc::SYS_prlimit64, libc::EPERM);
        let error = limited().expect_err("it is refused").to_string();
        assert!(error.contains("a memory limit (setrlimit)") && error.contains("seccomp"), "{error}");
    });
}

#[test]
fn a_kernel_without_pidfds_is_sufficient() {
    in_child("a_kernel_without_pidfds_is_sufficient", || {
        deny(libc::SYS_pidfd_open, libc::ENOSYS);
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
fn a_lost_exit_status_is_reported_as_unknown() {
    in_child("a_lost_exit_status_is_reported_as_unknown", || {
        // Since Linux 6.15 a pidfd gives the exit status too, by this call.
        deny(libc::SYS_ioctl, libc::ENOTTY);
        // SAFETY: `SIG_IGN` installs no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let error = double(0).expect_err("it aborts");
        let TaskError::WorkerDied { signal: None, code: None, message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains("how is unknown") && message.contains("SIGCHLD"), "{message}");
        assert_eq!(double(4).expect("another worker"), 8);
    });
}

/// Whether this process may change its root folder and mounts.
fn is_root() -> bool {
    // SAFETY: `geteuid` has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("left out: it wants root");
    }
    root
}

#[test]
fn workers_start_without_proc() {
    in_child("workers_start_without_proc", || {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let path = std::ffi::CString::new(folder.path().to_str().expect("UTF-8")).expect("no NUL");
        // SAFETY: the path is a C string that is alive.
        if unsafe { libc::chroot(path.as_ptr()) } != 0 {
            return eprintln!("left out: {}", std::io::Error::last_os_error());
        }
        assert_fails_with(&["/proc/self/exe", "`/proc` is not mounted"]);
        // The folder cannot be removed from inside; it stays, empty, in the parent's temporary folder.
        std::mem::forget(folder);
    });
}

#[test]
fn workers_start_without_dev_null() {
    in_child("workers_start_without_dev_null", || {
        if !is_root() {
            return;
        }
        // SAFETY: the names are C strings; the mounts affect only this process and its children.
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
fn workers_start_without_standard_streams() {
    in_child("workers_start_without_standard_streams", || {
        // SAFETY: no other thread uses the streams in this process.
        (0..3).for_each(|fd| _ = unsafe { libc::close(fd) });
        let doubled = (1..5).map(|n| double(n).ok()).collect::<Vec<_>>();
        let died = double(0).is_err_and(|error| matches!(error, TaskError::WorkerDied { signal: Some(6), .. }));
        // Nothing can be printed, so the exit status is the result.
        process::exit(i32::from(doubled != [Some(2), Some(4), Some(6), Some(8)] || !died));
    });
}

#[test]
fn a_process_limit_is_named() {
    in_child("a_process_limit_is_named", || {
        if !is_root() {
            return;
        }
        // Starts the threads of the pool; its worker aborts.
        assert!(double(0).is_err());
        let user = 200_000 + process::id();
        // SAFETY: the pointers are to limits that are alive. Only this test uses the user id.
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
        assert_fails_with(&["/proc/self/exe", "Resource temporarily unavailable", "RLIMIT_NPROC"]);
        // SAFETY: `limit` is valid for the read.
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
fn a_worker_without_descriptors_has_no_spinning_thread() {
    in_child("a_worker_without_descriptors_has_no_spinning_thread", || {
        let pid = forbid_all_files().expect("it may");
        // A spinning thread is in state `R`, however little time a busy machine gives it.
        let runs = || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
            let stats = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
            stats.filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'))).count() > 0
        };
        // The worker's watching thread polls once a second; the first poll under the limit is over by then.
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
fn an_exhausted_address_space_is_named() {
    // One thread: with two, the aborting call might run on the second worker, and the first one would survive.
    static SINGLE: Pool = Pool::process("single").threads(1);
    #[parallel(kind = "process", pool = SINGLE)]
    fn triple(n: u32) -> Result<u32, TaskError> {
        if n == 0 { process::abort() } else { Ok(3 * n) }
    }
    in_child("an_exhausted_address_space_is_named", || {
        // Starts the threads of the pool; its worker aborts.
        assert_eq!(triple(1).expect("there is memory"), 3);
        assert!(triple(0).is_err());
        // A thread that has just started maps its signal stack, and aborts if that fails.
        wait_until_others_sleep();
        let pages = fs::read_to_string("/proc/self/statm").expect("it can be read");
        let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
        // The rings of a worker take 530 kB.
        let limit = libc::rlimit { rlim_cur: pages * 4096 + (64 << 10), rlim_max: libc::RLIM_INFINITY };
        let mut filled = Vec::new();
        // SAFETY: `limit` is valid for the read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        // Takes everything that is free within the limit, so that the next mapping fails.
        while let Some(mapping) = map(64 << 10) {
            filled.push(mapping);
        }
        let errors = [triple(1).map_err(|error| error.to_string())];
        let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `limit` is valid for the read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let [Err(text)] = errors else { panic!("nothing was refused") };
        assert!(text.contains("(mmap)") && text.contains("address space") && text.contains("ulimit -v"), "{text}");
        assert_eq!(triple(2).expect("there is memory again"), 6);
    });
}

/// Waits until all other threads of this process sleep.
fn wait_until_others_sleep() {
    // SAFETY: `gettid` has no preconditions.
    let own = unsafe { libc::gettid() }.to_string();
    let is_busy = || {
        let threads = fs::read_dir("/proc/self/task").expect("it can be read").flatten();
        let others = threads.filter(|thread| *thread.file_name() != *own);
        let stats: Vec<_> = others.map(|thread| fs::read_to_string(thread.path().join("stat"))).collect();
        // A thread whose state cannot be read has ended.
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
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
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
    // SAFETY: `limit` is valid for the read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// As [`limit_files`], and can be raised again.
fn limit_open_files(limit: u64) {
    // SAFETY: `now` is valid for the write and the read.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now), 0);
        now.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now), 0);
    }
}

/// A call with `count` channels among its arguments.
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

#[cfg(not(fanfold_portable))] // a channel has descriptors
#[test]
fn too_many_channels_in_a_call_are_an_error() {
    in_child("too_many_channels_in_a_call_are_an_error", || {
        limit_files(4_000);
        for count in [1, 16, 17, 199] {
            assert_eq!(call_with(count).expect("there are files enough"), count as usize);
        }
        for count in [201, 300, 1_000] {
            let text = call_with(count).expect_err("they are too many for one call").to_string();
            assert!(text.contains("more than 200 ends of channels") && text.contains("several calls"), "{text}");
        }
        limit_files(500);
        // Enough descriptors for the sockets, but not for the duplicates that go to the worker.
        let text = call_with(180).expect_err("there are not").to_string();
        assert!(text.contains("RLIMIT_NOFILE"), "{text}");
        assert_eq!(double(4).expect("the pool works on"), 8);
    });
}

#[cfg(not(fanfold_portable))] // a channel has descriptors
#[test]
fn a_channel_that_cannot_cross_for_want_of_descriptors_works_on() {
    in_child("a_channel_that_cannot_cross_for_want_of_descriptors_works_on", || {
        assert_eq!(double(1).expect("its worker starts"), 2);
        let (sender, receiver) = channel();
        (0..200).for_each(|n| sender.send(n).expect("there is a place"));
        let text = with_free_files(1, || {
            // Clones and new channels need none.
            let clones: Vec<_> = (0..1_000).map(|_| (sender.clone(), receiver.clone())).collect();
            drop((clones, (0..1_000).map(|_| channel::<u32>()).collect::<Vec<_>>()));
            let total = channel().0;
            sum(vec![receiver.clone()], total).expect_err("it needs two").to_string()
        });
        assert!(text.contains("(socketpair)") && text.contains("RLIMIT_NOFILE"), "{text}");
        sender.try_send(200).expect_err("it is full as before");
        assert!((0..150).all(|n| receiver.recv() == Ok(n)));
        // Once there are some again, it crosses, with the values that are left.
        let (total, totals) = channel();
        assert_eq!(sum(vec![receiver.clone()], total).expect("there are files enough"), 1);
        assert_eq!(totals.recv(), Ok(150));
        sender.send(200).expect("it is open");
        assert!((151..=200).all(|n| receiver.recv() == Ok(n)));
    });
}

#[parallel(kind = "process", pool = WORKERS)]
fn produce(values: Sender<u32>) -> Result<u32, TaskError> {
    Ok((0..u32::MAX).take_while(|n| values.send(*n).is_ok()).fold(0, |count, _| count + 1))
}

#[cfg(not(fanfold_portable))] // a channel is a socket
#[test]
fn a_receiver_that_cannot_give_places_back_gets_an_error() {
    in_child("a_receiver_that_cannot_give_places_back_gets_an_error", || {
        let (sender, receiver) = channel_bounded(2);
        let sends = produce::submit(sender);
        assert_eq!(receiver.recv(), Ok(0));
        deny(libc::SYS_sendmsg, libc::ENOBUFS);
        let mut received = 1;
        let error = loop {
            match receiver.recv() {
                Ok(n) => received += u32::from(n == received),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ChannelError::System { .. }), "{error}");
        // On a thread that may send, the rest comes.
        std::thread::scope(|_| drop(receiver));
        assert!(sends.join().expect("it returns").expect("it runs") >= received);
    });
}

/// The number of values until there is an error, and whether it is one of the system.
#[parallel(kind = "process", pool = WORKERS)]
fn receive_later(values: Receiver<Vec<u8>>, started: Flag, begin: Flag) -> Result<(usize, bool), TaskError> {
    started.set();
    begin.wait();
    let mut count = 0;
    loop {
        match values.recv() {
            Ok(_) => count += 1,
            Err(error) => return Ok((count, matches!(error, ChannelError::System { .. }))),
        }
    }
}

#[cfg(not(fanfold_portable))] // a channel is a socket
#[test]
fn values_that_cannot_be_sent_are_an_error_where_they_are_missing() {
    in_child("values_that_cannot_be_sent_are_an_error_where_they_are_missing", || {
        let (sender, receiver) = channel();
        // More than a socket holds: a thread sends the rest.
        (0..150).for_each(|_| sender.send(vec![7; 50_000]).expect("there is a place"));
        drop(sender);
        let (started, begin) = (Flag::new(), Flag::new());
        let receives = receive_later::submit(receiver, started.clone(), begin.clone());
        started.wait();
        wait_until_others_sleep();
        deny_everywhere(libc::SYS_sendmsg, libc::ENOBUFS);
        begin.set();
        let (count, is_system) = receives.join().expect("it returns").expect("it runs");
        assert!(count < 150 && is_system, "{count} values, then an end: {}", !is_system);
    });
}

#[cfg(not(fanfold_portable))] // a channel is a socket
#[test]
fn an_async_wait_that_gets_no_thread_leaves_no_descriptors() {
    in_child("an_async_wait_that_gets_no_thread_leaves_no_descriptors", || {
        let (sender, receiver) = channel();
        sum(Vec::new(), sender.clone()).expect("it runs");
        assert_eq!(receiver.recv(), Ok(0));
        for call in [libc::SYS_clone, libc::SYS_clone3] {
            deny(call, libc::EAGAIN);
        }
        let open_files = || fs::read_dir("/proc/self/fd").expect("it can be read").count();
        let counts = [1, 20].map(|tries| {
            for _ in 0..tries {
                let refused = pollster::block_on(receiver.recv_async());
                assert!(matches!(refused, Err(ChannelError::System { .. })), "{refused:?}");
            }
            open_files()
        });
        assert_eq!(counts[0], counts[1]);
        sender.send(1).expect("it is open");
        assert_eq!(pollster::block_on(receiver.recv_async()), Ok(1));
    });
}

/// Runs `run` while this process may open so many files more.
fn with_free_files<T>(count: usize, run: impl FnOnce() -> T) -> T {
    // The descriptors are the lowest free ones.
    limit_open_files(64);
    let mut files: Vec<_> = (0..64).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    files.truncate(files.len() - count);
    let result = run();
    limit_open_files(1_000);
    result
}

#[cfg(not(fanfold_portable))] // a channel has descriptors
#[test]
fn more_channels_than_a_workers_descriptors_are_an_error() {
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
    in_child("more_channels_than_a_workers_descriptors_are_an_error", || {
        let before = limit_itself().expect("it may");
        let (_senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| channel()).unzip();
        let text = count(receivers).expect_err("the worker may not have as many").to_string();
        assert!(text.contains("RLIMIT_NOFILE"), "{text}");
        // A new worker has the limit of the program.
        let (_senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| channel()).unzip();
        let (received, after) = count(receivers).expect("there are files enough");
        assert!(received == 100 && after != before);
    });
}

#[parallel(kind = "process", pool = WORKERS)]
fn zeros(len: usize, argument: Vec<u8>) -> Result<Vec<u8>, TaskError> {
    Ok(vec![0; len + argument.len()])
}

#[parallel(kind = "process", pool = WORKERS)]
fn measure(values: Receiver<Vec<u8>>) -> Result<usize, TaskError> {
    Ok(values.iter().map(|value| value.len()).sum())
}

fn limit_file_size(limit: u64) {
    // SAFETY: `now` is valid for the write and the read.
    unsafe {
        let mut now: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut now), 0);
        now.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const now), 0);
    }
}

#[test]
fn a_file_size_limit_is_named() {
    in_child("a_file_size_limit_is_named", || {
        limit_file_size(64 << 10);
        assert_fails_with(&["memfd_create", "File too large", "RLIMIT_FSIZE"]);
        // The rings of a worker take 530 kB, and a block at least 1 MiB.
        limit_file_size(600 << 10);
        assert_eq!(double(1).expect("there may be workers"), 2);
        for (len, argument) in [(100_000, Vec::new()), (0, vec![0; 100_000])] {
            let text = zeros(len, argument).expect_err("it needs a block").to_string();
            assert!(text.contains("RLIMIT_FSIZE"), "{text}");
        }
        let (sender, receiver) = channel();
        sender.send(vec![0_u8; 700_000]).expect("it stays in this process");
        let text = measure(receiver.clone()).expect_err("it goes in memory of its own").to_string();
        assert!(text.contains("RLIMIT_FSIZE"), "{text}");
        assert_eq!(receiver.recv().expect("it is still here").len(), 700_000);
        assert_eq!(double(2).expect("its worker lives"), 4);
    });
}
