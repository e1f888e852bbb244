//! Log events, with the feature `tracing`. Without it, nothing.

/// Logs that a source went stale, or that it reports again.
pub(crate) fn source_changed(source: &str, up: bool, error: Option<&str>) {
    #[cfg(feature = "tracing")]
    if up {
        tracing::info!(source, "source reports");
    } else {
        tracing::warn!(source, error, "source is stale");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (source, up, error);
}

/// Logs that a page no longer waits for a source.
pub(crate) fn source_timed_out(source: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(source, "source did not answer by the deadline of a page");
    #[cfg(not(feature = "tracing"))]
    let _ = source;
}

/// Logs that a connection could not be accepted.
#[cfg(feature = "serve")]
pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, "connection could not be accepted");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}
