//! Signals: the ones a worker leaves to its parent, and their names.

/// The signal of a process that gave up, as Rust does when there is no memory.
pub(crate) const SIGABRT: i32 = libc::SIGABRT;

/// Signals that end a process unless it handles them, and that are sent to a whole process group or to all processes of
/// a service: by a terminal (`SIGINT`, `SIGQUIT`, `SIGHUP`), by `systemctl stop` (`SIGTERM`), and by `systemctl kill
/// -s` and scripts around it (`SIGUSR1`, `SIGUSR2`).
const GROUP_SIGNALS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Leaves the [`GROUP_SIGNALS`] to the parent: what it does about them holds for its workers. One that they end takes
/// its workers along; one that handles them may let its workers finish.
///
/// Workers stay in the parent's process group. In one of their own they could not read from the terminal, `Ctrl-Z`
/// would stop the parent alone, and `kill -- -GROUP` would miss them; while systemd, which knows processes by their
/// control group, would reach them as before.
///
/// A handler that does nothing, unlike "ignore", is not inherited by programs that tasks start. Where the program
/// ignores a signal, as under `nohup`, that stays as it is: its child programs are to ignore it as well.
pub(crate) fn install_noop_signal_handlers() {
    extern "C" fn nothing(_: libc::c_int) {}
    for signal in GROUP_SIGNALS {
        // SAFETY: a zeroed action is a valid one, and the handler may run at any time.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut before) == 0 && before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The name of a signal.
pub(crate) fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => "a signal",
    }
}
