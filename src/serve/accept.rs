//! The loop that accepts connections, and its end.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::serve::limits::{HEADER_BYTES_LEAST, Limits, RESERVE_STAY, SCRAPE_TIMEOUT_MOST};
use crate::serve::paced::{Answering, Paced};
use crate::serve::places::{Place, Places};
use crate::serve::server::{Admission, Server, unavailable};

/// How long to wait when the system has no descriptor left, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How much longer than its sources an answer may take.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

const STUCK: &str =
    "the numbers do not come: see whether the machine is out of threads or memory\n";

pub(super) async fn serve(
    server: &Server,
    listener: &TcpListener,
    shutdown: impl Future,
) -> io::Result<()> {
    let limits = server.limits();
    let mut places = Places::new(limits.connections, Arc::clone(server.stats()));
    let graceful = GracefulShutdown::new();
    // Dropped with this future, and what is open with it.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, place) = tokio::select! {
            _ = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(server, listener, &mut places) => accepted?,
        };
        // One of the usual places may have come free while this one was waited with.
        let place = match places.usual() {
            Some(usual) if !place.is_usual => usual,
            _ => place,
        };
        if place.is_usual {
            let connection = connection(server, stream, limits, Admission::Full);
            connections.spawn(hold(place, graceful.watch(connection)));
        } else {
            let guest = guest(server, stream, Admission::ProbesBeyondTheLimit);
            places.has_come(connections.spawn(hold(place, guest)));
        }
    }

    server.begin_draining();
    let deadline = Instant::now().checked_add(limits.drain_timeout);
    let mut drained = pin!(graceful.shutdown());
    let mut listening = true;
    loop {
        let accepted = tokio::select! {
            () = &mut drained => break,
            () = until(deadline) => return Ok(()),
            Some(_) = connections.join_next() => continue,
            // Whoever asks is told: a refused connection might be of a server that never was.
            accepted = accept_a_guest(server, listener, &mut places), if listening => accepted,
        };
        let Ok((stream, place)) = accepted else {
            listening = false;
            continue;
        };
        let guest = guest(server, stream, Admission::ProbesWhileDraining);
        places.has_come(connections.spawn(hold(place, guest)));
    }
    // Who is being told so still gets that answer: a guest does not stay long.
    let told = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = told => {}
        () = until(deadline) => {}
    }
    Ok(())
}

async fn hold(place: Place, connection: impl Future) {
    // How a connection ends is its client's business: it may go at any time.
    let _ = connection.await;
    drop(place);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The place comes first: with none left, nobody is accepted.
async fn accept(
    server: &Server,
    listener: &TcpListener,
    places: &mut Places,
) -> io::Result<(TcpStream, Place)> {
    let place = places.take().await;
    Ok((next(server, listener).await?, place))
}

async fn accept_a_guest(
    server: &Server,
    listener: &TcpListener,
    places: &mut Places,
) -> io::Result<(TcpStream, Place)> {
    let place = places.take_reserve().await;
    Ok((next(server, listener).await?, place))
}

/// The next connection; an error only where there can be no other.
async fn next(server: &Server, listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut pause, longest) = BACK_OFF;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if is_of_the_connection(&error) => {}
            // Shut down by somebody else, or no listener at all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            // Out of descriptors or memory, most likely. Others must end first: to try again at
            // once would only spin.
            Err(_) => {
                server.stats().accept_error();
                sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        }
    }
}

/// Whether an error of `accept` was of the one connection that it would have returned.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// A connection for a moment, and one request.
fn guest(
    server: &Server,
    stream: TcpStream,
    admission: Admission,
) -> impl Future<Output = ()> + Send + use<> {
    let stay = connection(server, stream, server.limits().of_the_reserve(), admission);
    async move {
        // Either way, it is over.
        let _ = timeout(RESERVE_STAY, stay).await;
    }
}

fn connection(
    server: &Server,
    stream: TcpStream,
    limits: Limits,
    admission: Admission,
) -> impl GracefulConnection<Output = hyper::Result<()>> + Send + use<> {
    // A page goes in one piece, and wants to go now. Where this cannot be set, it goes later.
    let _ = stream.set_nodelay(true);
    let open = Arc::clone(server.stats()).accepted();
    let answering = Answering::default();
    let paced = Paced::new(
        stream,
        limits,
        Arc::clone(server.stats()),
        answering.clone(),
    );
    let server = server.clone();
    let longest = limits
        .source_timeout
        .max(SCRAPE_TIMEOUT_MOST)
        .saturating_add(ANSWER_GRACE);
    let mut http = http1::Builder::new();
    // A client that has said all may close its half: it still gets the answer.
    http.half_close(true)
        .keep_alive(admission == Admission::Full)
        .max_buf_size(limits.header_bytes.max(HEADER_BYTES_LEAST));
    // To name hyper's own default would cost an allocation for each request.
    if limits.headers != Limits::DEFAULT.headers {
        http.max_headers(limits.headers);
    }
    http.serve_connection(
        paced,
        service_fn(move |request| {
            // The connection is open for as long as it has a service.
            let _ = &open;
            let answered = answering.begin();
            let answer = server.answer(&request, admission);
            async move {
                let reply = if answer.is_at_hand() {
                    answer.await
                } else {
                    // Sources and rules have their time; this is for what has none.
                    let reply = timeout(longest, answer).await;
                    reply.unwrap_or_else(|_| unavailable(STUCK))
                };
                drop(answered);
                Ok::<_, Infallible>(reply)
            }
        }),
    )
}
