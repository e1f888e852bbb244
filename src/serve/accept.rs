//! The accept loop, and graceful shutdown.
//!
//! Considered: `hyper_util::server::conn::auto` and axum's `serve` accept without a connection limit and without
//! deadlines for slow clients, which is what this loop adds.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

use crate::serve::limit::{ConnectionLimit, Permit};
use crate::serve::options::{MAX_SCRAPE_TIMEOUT, RESERVED_TIMEOUT, ServeOptions};
use crate::serve::response;
use crate::serve::routes::{Admission, Routes};
use crate::serve::stats::{CloseReason, Stats};
use crate::serve::timeout::{TimeoutStream, deadline};

/// The longest pause after an error of `accept` that concerns no single connection. The first one is 10 ms.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// How long a response may take beyond the longest scrape timeout.
const RESPONSE_GRACE: Duration = Duration::from_secs(5);

const TIMED_OUT: &str = "the snapshot timed out: check whether the process is out of threads or memory\n";

/// Serves until `shutdown` completes, then drains.
pub(super) async fn serve(routes: &Routes, listener: &TcpListener, shutdown: impl Future) -> io::Result<()> {
    let routes = &Arc::new(routes.for_listener());
    let shutdown = async {
        shutdown.await;
        routes.is_listener_draining.store(true, Relaxed);
        sleep(routes.options.drain_delay).await;
    };
    let mut limit = ConnectionLimit::new(routes.options.max_connections, Arc::clone(&routes.stats));
    let graceful = GracefulShutdown::new();
    // Aborts the connections when this future is dropped. Their errors are ignored: a client may close its connection
    // in any way at any time.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let result = loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = accept(listener, &routes.stats, limit.acquire()) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => break Err(error),
        };
        // A regular permit may have become free since.
        let permit = if permit.is_regular { permit } else { limit.regular().unwrap_or(permit) };
        if permit.is_regular {
            let address = stream.local_addr();
            let is_loopback = !address.is_ok_and(|address| !address.ip().to_canonical().is_loopback());
            let connection = connection(routes, stream, permit, routes.options, Admission::Regular { is_loopback });
            connections.spawn(graceful.watch(connection));
        } else {
            let connection = reserved_connection(routes, stream, permit, CloseReason::Limit);
            limit.track(connections.spawn(connection));
        }
    };

    routes.is_listener_draining.store(true, Relaxed);
    let deadline = deadline(routes.options.drain_timeout);
    let mut drained = pin!(graceful.shutdown());
    let mut is_listening = result.is_ok();
    loop {
        let accepted = tokio::select! {
            () = &mut drained => break,
            () = sleep_until(deadline) => return result,
            Some(_) = connections.join_next() => continue,
            // Probes are told that the server drains: a refused connection would not say that.
            accepted = accept(listener, &routes.stats, limit.reserved()), if is_listening => accepted,
        };
        let Ok((stream, permit)) = accepted else {
            is_listening = false;
            continue;
        };
        let connection = reserved_connection(routes, stream, permit, CloseReason::Draining);
        limit.track(connections.spawn(connection));
    }
    // Reserved connections still get their answer: they last at most 500 ms.
    let _ = timeout_at(deadline, async { while connections.join_next().await.is_some() {} }).await;
    result
}

/// Accepts a connection once there is a permit for it. Fails only if the listener can accept no other.
async fn accept(
    listener: &TcpListener,
    stats: &Stats,
    permit: impl Future<Output = Permit>,
) -> io::Result<(TcpStream, Permit)> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    let permit = permit.await;
    let mut pause = Duration::from_millis(10);
    loop {
        let error = match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, permit)),
            Err(error) => error,
        };
        match error.kind() {
            // The client gave up.
            ConnectionAborted | ConnectionRefused | ConnectionReset => {}
            // The socket was shut down, or is no listener.
            InvalidInput => return Err(error),
            // Mostly out of descriptors or memory. Trying again at once would spin until other connections end.
            _ => {
                stats.accept_error();
                #[cfg(feature = "tracing")]
                tracing::warn!(%error, "connection could not be accepted");
                sleep(pause).await;
                pause = MAX_BACKOFF.min(pause * 2);
            }
        }
    }
}

/// A connection for one request to a probe, of at most 500 ms.
fn reserved_connection(
    routes: &Arc<Routes>,
    stream: TcpStream,
    permit: Permit,
    reason: CloseReason,
) -> impl Future<Output = hyper::Result<()>> + Send + use<> {
    let connection = connection(routes, stream, permit, routes.options.reserved(), Admission::ProbesOnly(reason));
    async { timeout(RESERVED_TIMEOUT, connection).await.unwrap_or(Ok(())) }
}

/// Serves a connection, which holds its permit until it ends.
fn connection(
    routes: &Arc<Routes>,
    stream: TcpStream,
    permit: Permit,
    options: ServeOptions,
    admission: Admission,
) -> impl GracefulConnection<Output = hyper::Result<()>> + Send + use<> {
    // A page is written at once, and need not wait for more. Without the option, it is only sent later.
    let _ = stream.set_nodelay(true);
    let open = Arc::clone(&routes.stats).accepted();
    let in_flight = Arc::<AtomicBool>::default();
    let stream = TimeoutStream::new(stream, options, Arc::clone(&routes.stats), Arc::clone(&in_flight));
    let routes = Arc::clone(routes);
    let longest = options.scrape_timeout.max(MAX_SCRAPE_TIMEOUT) + RESPONSE_GRACE;
    let mut http = http1::Builder::new();
    // A client that has sent its request may close its half of the connection.
    http.half_close(true).keep_alive(!options.idle_timeout.is_zero()).max_header_size(options.max_header_bytes);
    // hyper's default of 408 KiB would let 256 pipelining clients hold 100 MiB.
    http.max_buf_size(options.max_header_bytes);
    // Setting hyper's own default would cost an allocation for each request.
    if options.max_headers != ServeOptions::DEFAULT.max_headers {
        http.max_headers(options.max_headers);
    }
    http.serve_connection(
        stream,
        service_fn(move |request| {
            // Both are dropped with the service, at the end of the connection.
            let _ = (&open, &permit);
            in_flight.store(true, Relaxed);
            let in_flight = Arc::clone(&in_flight);
            let response = routes.respond(&request, admission);
            async move {
                // Sources and rules have deadlines. This one is for a starved process.
                let response = timeout(longest, response).await;
                in_flight.store(false, Relaxed);
                response.unwrap_or_else(|_| Ok(response::unavailable(TIMED_OUT)))
            }
        }),
    )
}
