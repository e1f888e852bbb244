//! A small pub/sub broker over HTTP that reports all six sections of the telemetry pages.
//!
//! ```text
//! cargo run --release --example broker
//! ```
//!
//! starts it on 127.0.0.1:8080 with a few built-in clients. With `--chaos`, alerts fire and resolve. Start with `broker.rs`
//! to see how the crate is embedded:
//!
//! | file | contents |
//! | --- | --- |
//! | `broker.rs` | the components and the aggregator over them: **copy from here** |
//! | `sources.rs`, `alerts.rs` | a source of the application's own, and the alert rules |
//! | `routes.rs` | the broker's paths; all other paths go to the telemetry server |
//! | `patterns.rs`, `channels.rs` | allowed channel names, open channels |
//! | `channel.rs`, `history.rs` | one channel, its messages |
//! | `event_stream.rs` | the server-sent events of one subscriber |
//! | `tokens.rs`, `token_cache.rs` | the tokens that publishing requires, and the cache in front of them |
//! | `request.rs`, `response.rs`, `error.rs` | parsing requests, building responses |
//! | `limits.rs` | every limit |
//! | `server.rs`, `signals.rs` | the accept loop and the graceful shutdown |
//! | `terminal.rs` | the terminal output |
//! | `client.rs`, `demo.rs` | the built-in clients |
//! | `chaos.rs` | the faults of `--chaos` |
//! | `args.rs` | command-line options |

mod alerts;
mod args;
mod broker;
mod channel;
mod channels;
mod chaos;
mod client;
mod demo;
mod error;
mod event_stream;
mod history;
mod limits;
mod patterns;
mod request;
mod response;
mod routes;
mod server;
mod signals;
mod sources;
mod terminal;
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
use crate::signals::Signals;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match args::parse() {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            terminal::print(args::HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            terminal::warn(&format!("{error}; --help lists the options"));
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            terminal::warn(&message);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    // First of all, so that a signal during the start shuts the broker down gracefully too.
    let mut signals = Signals::listen().await;
    let listener = TcpListener::bind(options.listen).await.map_err(|error| listen_error(options.listen, &error))?;
    let address = listener.local_addr().map_err(|error| listen_error(options.listen, &error))?;

    let (broker, transitions) = Broker::new(&options).map_err(|error| error.to_string())?;
    let broker = Arc::new(broker);
    terminal::print_urls(address, &broker);
    if !address.ip().is_loopback() && options.page_token.is_none() {
        terminal::warn(
            "other hosts can read the telemetry pages: require a token with --page-token, or listen on 127.0.0.1",
        );
    }

    let mut tasks = JoinSet::new();
    tasks.spawn(terminal::print_status(Arc::clone(&broker)));
    tasks.spawn(terminal::print_transitions(transitions));
    tasks.spawn(broker::sweep(Arc::clone(&broker)));
    if let Some(cycle) = options.chaos {
        tasks.spawn(chaos::run(Arc::clone(&broker), cycle));
    }
    let mut clients = JoinSet::new();
    if !options.quiet {
        demo::start(&mut clients, address, broker.channels.patterns());
    }

    let on_shutdown = async {
        terminal::print(
            "shutting down: event streams end, requests in flight finish; a second signal ends them at once",
        );
        // Before the listener is closed, or the built-in clients would report errors.
        clients.shutdown().await;
    };
    let drain = server::serve(listener, Arc::clone(&broker), &mut signals, on_shutdown).await;
    tasks.shutdown().await;
    terminal::print_summary(&broker, &drain);
    Ok(())
}

fn listen_error(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the process that uses this port, or pick a free port with --listen 127.0.0.1:0"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: pick a higher one with --listen",
        io::ErrorKind::AddrNotAvailable => "this host does not have the address: try --listen 127.0.0.1:8080",
        _ => "try another address with --listen",
    };
    format!("cannot listen on {address}: {error}; {advice}")
}

/// Ignores poisoning: every critical section of the broker leaves its data consistent at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
