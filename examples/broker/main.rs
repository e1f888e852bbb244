//! A small pub/sub broker over HTTP whose every part feeds the telemetry page with true numbers.
//!
//! ```text
//! cargo run --release --example broker
//! ```
//!
//! starts it on 127.0.0.1:8080 with a few built-in clients, so that all six sections of the page
//! move. Read it from here downwards to see how the crate is embedded:
//!
//! | file | idea |
//! | --- | --- |
//! | `broker.rs` | the parts and the aggregator over them: **the place to copy from** |
//! | `sources.rs`, `alerts.rs` | an own source in ten lines a section, and the rules |
//! | `routes.rs` | the broker's paths; every other path is the telemetry server's |
//! | `grammar.rs`, `channels.rs`, `channel.rs`, `history.rs` | which channels there may be, which there are, and one of them |
//! | `event_stream.rs` | one subscriber's server-sent events |
//! | `tokens.rs`, `token_cache.rs` | who may publish, and the cache in front of that question |
//! | `request.rs`, `reply.rs`, `limits.rs` | reading, answering, and every bound in one place |
//! | `server.rs` | the accept loop and the drain |
//! | `report.rs`, `client.rs`, `demo.rs` | the line on the terminal; the built-in clients |
//! | `args.rs` | the flags |

mod alerts;
mod args;
mod broker;
mod channel;
mod channels;
mod client;
mod demo;
mod event_stream;
mod grammar;
mod history;
mod limits;
mod reply;
mod report;
mod request;
mod routes;
mod server;
mod sources;
mod token_cache;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::args::{Command, Options};
use crate::broker::Broker;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match args::parse() {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            report::say(args::HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            report::complain(&format!("{error}; --help lists the flags"));
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report::complain(&message);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    // Before anything else: a signal that comes while the broker starts must drain it, too.
    let mut signals =
        Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| cannot_listen(options.listen, &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_listen(options.listen, &error))?;

    let broker = Arc::new(Broker::new(&options).map_err(|error| error.to_string())?);
    report::greet(address, &broker);
    if !address.ip().is_loopback() && options.page_token.is_none() {
        report::complain(
            "the pages are open to whoever reaches this address: --page-token asks for a token, 127.0.0.1 keeps them here",
        );
    }

    let mut tasks = JoinSet::new();
    tasks.spawn(report::every_second(Arc::clone(&broker)));
    tasks.spawn(broker::sweep(Arc::clone(&broker)));
    let mut clients = JoinSet::new();
    if !options.quiet {
        demo::start(&mut clients, address, broker.channels.patterns());
    }

    let stopping = async {
        report::say(
            "stopping: no new connections, event streams end, requests in flight are finished; \
             once more ends it at once",
        );
        // Ours go first: they would complain.
        clients.shutdown().await;
    };
    let cut_short = server::serve(listener, Arc::clone(&broker), &mut signals, stopping).await;
    tasks.shutdown().await;
    report::farewell(&broker, cut_short);
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "end the program that has this port, or choose another: --listen 127.0.0.1:0 takes a free one"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 want a privilege: choose a higher one with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: try --listen 127.0.0.1:8080"
        }
        _ => "try another address with --listen",
    };
    format!("cannot listen on {address}: {error}; {advice}")
}

/// Ctrl-C and, on Unix, SIGTERM. The handlers are in place from the start, and for good: a signal
/// that nobody waits for does nothing.
struct Signals {
    #[cfg(unix)]
    both: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let both = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        Ok(Self { both })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.both;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nothing will tell us to stop, so run until the process is ended.
            std::future::pending::<()>().await;
        }
    }
}

/// Locks even after a panic elsewhere: every critical section here leaves its data whole at each
/// step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
