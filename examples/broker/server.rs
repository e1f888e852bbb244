//! The accept loop and the graceful shutdown.
//!
//! An application that serves only the telemetry pages needs none of this: it calls `parsec_telemetry::serve`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::broker::Broker;
use crate::signals::Signals;
use crate::{limits, routes, terminal};

/// How the drain ended.
pub(crate) enum Drain {
    Complete,
    TimedOut { aborted: usize },
    Interrupted { aborted: usize },
}

impl fmt::Display for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("all connections closed"),
            Self::TimedOut { aborted } => {
                let seconds = limits::DRAIN_TIMEOUT.as_secs();
                write!(f, "{} aborted after {seconds} s", terminal::count(*aborted, "connection"))
            }
            Self::Interrupted { aborted } => {
                write!(f, "{} aborted by a second signal", terminal::count(*aborted, "connection"))
            }
        }
    }
}

/// Serves until the first signal, then drains the open connections until all are closed, the drain timeout has
/// passed, or a second signal is received.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    signals: &mut Signals,
    on_shutdown: impl Future<Output = ()>,
) -> Drain {
    let permits = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = signals.next() => break,
            (stream, permit) = accept(&listener, &permits) => {
                let connection = graceful.watch(connection(stream, Arc::clone(&broker)));
                connections.spawn(async move {
                    // An error here means that the client closed or broke the connection.
                    let _ = connection.await;
                    drop(permit);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    on_shutdown.await;

    drop(listener);
    broker.telemetry.begin_draining();
    broker.channels.close();
    let timed_out = tokio::select! {
        () = graceful.shutdown() => return Drain::Complete,
        () = sleep(limits::DRAIN_TIMEOUT) => true,
        () = signals.next() => false,
    };
    // Finished tasks that have not been joined do not count as aborted.
    while connections.try_join_next().is_some() {}
    let aborted = connections.len();
    connections.shutdown().await;
    if timed_out { Drain::TimedOut { aborted } } else { Drain::Interrupted { aborted } }
}

/// Acquires the permit before it accepts: at the limit, further connections wait in the listen backlog.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                // The likely cause is a lack of file descriptors, which a retry does not fix until another connection
                // closes.
                terminal::warn(&format!("cannot accept a connection: {error}; retrying in 100 ms"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn connection(stream: TcpStream, broker: Arc<Broker>) -> impl GracefulConnection<Output = hyper::Result<()>> + Send {
    // Without this, small events are delayed. A failure only costs latency.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let broker = Arc::clone(&broker);
        async move { Ok::<_, Infallible>(routes::respond(&broker, request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
}
