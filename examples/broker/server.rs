//! The accept loop and the drain.
//!
//! A broker of your own that wants no other paths than the crate's does not need this file:
//! `parsec_telemetry::serve` is such a loop.

use std::convert::Infallible;
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
use crate::{Signals, limits, report, routes};

/// Serves until there is a signal, drains until there is another or the deadline, and says how many
/// connections that cut short.
pub(crate) async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    signals: &mut Signals,
    stopping: impl Future<Output = ()>,
) -> usize {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = signals.next() => break,
            (stream, place) = accept(&listener, &places) => {
                let connection = graceful.watch(connection(stream, Arc::clone(&broker)));
                connections.spawn(async move {
                    // How a connection ends is its client's business: it may go at any time.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    stopping.await;

    drop(listener);
    broker.pages.begin_draining();
    broker.channels.close();
    tokio::select! {
        () = graceful.shutdown() => return 0,
        () = sleep(limits::DRAIN) => {}
        () = signals.next() => {}
    }
    while connections.try_join_next().is_some() {}
    let cut_short = connections.len();
    connections.shutdown().await;
    cut_short
}

/// The place comes first: when all are taken, who wants to connect waits in the system's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("this semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                // Out of file descriptors, most likely: others must end first, so there is no
                // hurry.
                report::complain(&format!("cannot accept a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn connection(
    stream: TcpStream,
    broker: Arc<Broker>,
) -> impl GracefulConnection<Output = hyper::Result<()>> + Send {
    // An event is small, and wants to go now. Where this cannot be set, it goes a little later.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::READ)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let broker = Arc::clone(&broker);
                async move { Ok::<_, Infallible>(routes::answer(&broker, request).await) }
            }),
        )
}
