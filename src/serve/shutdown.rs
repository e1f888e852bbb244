//! The signals that end a process.

use std::future::pending;

/// Completes on Ctrl-C or, on Unix, on SIGTERM: a `shutdown` for [`serve()`](crate::serve()).
///
/// From the first poll on, these signals do not end the process by themselves, even after this future has completed.
/// If the handler of one signal cannot be installed, that signal keeps its effect, and this future waits for the
/// other.
///
/// # Panics
///
/// On a tokio runtime without I/O: build it with `enable_all`.
pub async fn shutdown_signal() {
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminate() => {}
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => pending().await,
    }
}

#[cfg(not(unix))]
use pending as terminate;
