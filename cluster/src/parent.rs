//! The end of a scheduler or an executor: at a signal, or with the program that has started it.

use std::io::Read;
use std::path::PathBuf;

/// Ends this process when the parent has ended: standard input is a pipe that the parent never writes to, and the
/// system closes it however the parent ends. The folder of the local cluster is deleted then.
pub(crate) fn end_with_parent(folder: PathBuf) {
    let wait = move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        log::debug!("the program that has started this process has ended, and so does this one");
        // Of several processes one is the first to delete it.
        let _ = std::fs::remove_dir_all(folder);
        std::process::exit(0);
    };
    std::thread::Builder::new().name("parent".into()).spawn(wait).map_or_else(
        |error| log::warn!("this process may outlive its parent, as it cannot have a thread: {error}"),
        drop,
    );
}

/// Waits for an interrupt or a request to terminate.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Keeps a write to a closed connection from ending this process. In `main` Rust has seen to that; a test program runs
/// before its `main`. Called inside of a runtime.
pub(crate) fn survive_broken_pipes() {
    #[cfg(unix)]
    if let Err(error) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::pipe()) {
        log::warn!("a lost connection may end this process, as it cannot handle SIGPIPE: {error}");
    }
}
