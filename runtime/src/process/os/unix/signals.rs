//! Signals: the ones that a worker leaves to its parent, and the names of signals.

/// The signal of `abort`, by which Rust ends a process that is out of memory.
pub(crate) const SIGABRT: i32 = libc::SIGABRT;

/// Signals that end a process by default and are sent to a whole process group or service: by a terminal (`SIGINT`,
/// `SIGQUIT`, `SIGHUP`), by `systemctl stop` (`SIGTERM`), and by `systemctl kill -s` and scripts around it (`SIGUSR1`,
/// `SIGUSR2`).
const GROUP_SIGNALS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Installs handlers that do nothing for the [`GROUP_SIGNALS`], so that the parent decides for its workers: a parent
/// that is ended by the signal takes its workers with it, and a parent that handles the signal may let them finish.
///
/// Workers stay in the parent's process group. In a group of their own they could not read from the terminal, `Ctrl-Z`
/// would stop the parent alone, and `kill -- -GROUP` would miss them; systemd, which knows processes by their control
/// group, would reach them all the same.
///
/// Unlike "ignore", a handler is not inherited by programs that tasks start. A signal that the program ignores, as
/// under `nohup`, stays ignored, because its child programs are to ignore it as well.
pub(crate) fn install_noop_signal_handlers() {
    extern "C" fn nothing(_: libc::c_int) {}
    for signal in GROUP_SIGNALS {
        // SAFETY: an all-zero `sigaction` is a valid value, all pointers are null or live during the calls, and the
        // handler does nothing, so it may run at any time.
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

/// The name of a signal, for messages.
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
