//! A server of this process, and how it is after an abuse.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{fs, io};

use parsec_telemetry::{Aggregator, Server, ServerBuilder, Snapshot};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use crate::wire::{ask, connect, poll};
use crate::{GET, GET_TEXT, IN_TIME};

/// A server of this process.
pub(crate) struct Site {
    pub(crate) at: SocketAddr,
    pub(crate) server: Server,
    end: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<io::Result<()>>>,
    descriptors: usize,
    /// Descriptors are the process's, so there is one site at a time.
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    pub(crate) fn start(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::of(Aggregator::new(), set)
    }

    pub(crate) fn of(
        aggregator: Aggregator,
        set: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let mut site = Self::begin(aggregator, set);
        // What a first page needs stays open.
        site.answers();
        poll("the first clients are gone", || {
            let now = descriptors();
            let still = std::mem::replace(&mut site.descriptors, now) == now;
            still.then_some(())
        });
        site
    }

    /// Not looked at yet.
    pub(crate) fn begin(
        aggregator: Aggregator,
        set: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let alone = alone();
        let server = set(Server::builder(aggregator)).build();
        let runtime = runtime();
        let listener = runtime.block_on(listener()).expect("a free port");
        let at = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel();
        let serving = server.clone().serve(listener, ended);
        let serving = thread::spawn(move || runtime.block_on(serving));
        Self {
            at,
            server,
            end: Some(end),
            serving: Some(serving),
            descriptors: 0,
            _alone: alone,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.at)
    }

    pub(crate) fn ask(&self, request: &str) -> String {
        ask(self.at, request).expect("an answer")
    }

    /// Both pages answer right, each within a second. (To look through a long one may
    /// take this side as long.)
    fn answers(&self) {
        is_right(&self.page(GET), 0);
        is_right(&self.page(GET_TEXT), 0);
    }

    fn page(&self, request: &str) -> String {
        let asked = Instant::now();
        let answer = self.ask(request);
        let took = asked.elapsed();
        let (head, page) = answer.split_once("\r\n\r\n").expect("headers");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(took < IN_TIME, "{took:?}");
        page.to_owned()
    }

    /// The pages answer right within a second, and what was opened is closed.
    pub(crate) fn is_well(&self) {
        // All places may still be about to come free.
        let asked = Instant::now();
        poll("a place", || {
            let answer = self.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
        let took = asked.elapsed();
        assert!(took < IN_TIME, "{took:?}");
        self.answers();
        poll("descriptors are back", || {
            (descriptors() <= self.descriptors).then_some(())
        });
    }

    pub(crate) fn shut_down(&mut self) {
        let end = self.end.take().expect("once");
        end.send(()).expect("it still runs");
    }

    pub(crate) fn has_ended(&mut self) {
        let serving = self.serving.take().expect("once");
        poll("the end", || serving.is_finished().then_some(()));
        serving.join().expect("no panic").expect("a good end");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end = None;
        if let Some(serving) = self.serving.take()
            && !thread::panicking()
        {
            serving.join().expect("no panic").expect("a good end");
        }
    }
}

/// With a queue that holds a crowd: a caller whom it does not hold tries again after a second.
#[expect(clippy::unused_async, reason = "a listener wants a runtime")]
async fn listener() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(1024)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Whether a page, of either format, shows this many live tokens.
pub(crate) fn is_right(page: &str, tokens: i64) {
    if page.starts_with('{') {
        let snapshot: Snapshot = serde_json::from_str(page).expect("a snapshot");
        assert_eq!(snapshot.tokens.active_count, tokens);
    } else {
        let line = format!("\nparsec_telemetry_tokens_active {tokens}\n");
        assert!(page.contains(&line), "{page:.1000}");
    }
}

/// Descriptors are the process's, and time is the machine's, so there is one server at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}
