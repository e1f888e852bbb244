//! A server in the test's own process.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{fs, io};

use parsec_telemetry::{Aggregator, Server, ServerBuilder, Snapshot};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use crate::support::poll::poll;
use crate::support::socket::connect;
use crate::{ANSWER_DEADLINE, GET_INDEX, GET_JSON, GET_TEXT, wire};

pub(crate) struct LocalServer {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Open before the test begins.
    descriptors: usize,
    _exclusive: MutexGuard<'static, ()>,
}

impl LocalServer {
    pub(crate) fn start(options: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::with_aggregator(Aggregator::new(), options)
    }

    pub(crate) fn with_aggregator(
        aggregator: Aggregator,
        options: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let mut server = Self::without_baseline(aggregator, options);
        // The first page opens descriptors that stay open.
        server.assert_pages();
        poll("the number of descriptors is stable", || {
            let now = open_descriptors();
            let is_stable = std::mem::replace(&mut server.descriptors, now) == now;
            is_stable.then_some(())
        });
        server
    }

    /// Counts no descriptors, so [`assert_recovers`](Self::assert_recovers) does not apply.
    pub(crate) fn without_baseline(
        aggregator: Aggregator,
        options: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let exclusive = exclusive();
        let server = options(Server::builder(aggregator)).build();
        let runtime = runtime();
        let listener = runtime.block_on(listener()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, receiver) = oneshot::channel();
        let serve = server.clone().serve(listener, receiver);
        let thread = thread::spawn(move || runtime.block_on(serve));
        Self { address, server, shutdown: Some(shutdown), thread: Some(thread), descriptors: 0, _exclusive: exclusive }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn request(&self, request: &str) -> String {
        wire::request(self.address, request).expect("a response")
    }

    fn assert_pages(&self) {
        for request in [GET_JSON, GET_TEXT] {
            let start = Instant::now();
            let response = self.request(request);
            let elapsed = start.elapsed();
            let (head, page) = response.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(elapsed < ANSWER_DEADLINE, "{elapsed:?}");
            assert_tokens(page, 0);
        }
    }

    /// Asserts that the pages are correct and in time, and that the descriptors of the test's connections are closed.
    pub(crate) fn assert_recovers(&self) {
        // Connections that have just been closed may still count towards the limit.
        poll("a connection within the limit", || {
            let response = self.request(GET_INDEX);
            response.starts_with("HTTP/1.1 200 ").then_some(())
        });
        self.assert_pages();
        poll("the descriptors are closed", || (open_descriptors() <= self.descriptors).then_some(()));
    }

    pub(crate) fn shut_down(&mut self) {
        let shutdown = self.shutdown.take().expect("called once");
        shutdown.send(()).expect("the server still runs");
    }

    pub(crate) fn join(&mut self) {
        let thread = self.thread.take().expect("called once");
        poll("the server ends", || thread.is_finished().then_some(()));
        let result = thread.join().expect("the server does not panic");
        result.expect("the server returns no error");
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.shutdown = None;
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            let result = thread.join().expect("the server does not panic");
            result.expect("the server returns no error");
        }
    }
}

/// With a backlog for a burst of connections: one that it drops is retried after a second.
#[expect(clippy::unused_async, reason = "a listener needs a runtime")]
async fn listener() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(1024)
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Asserts that a page of either format shows this number of active tokens.
pub(crate) fn assert_tokens(page: &str, tokens: i64) {
    if page.starts_with('{') {
        let snapshot: Snapshot = serde_json::from_str(page).expect("a snapshot");
        assert_eq!(snapshot.tokens.active_count, tokens);
    } else {
        // A server without sources omits the family.
        let line = format!("\nparsec_telemetry_tokens_active {tokens}\n");
        let is_measured = page.contains("\nparsec_telemetry_tokens_active ");
        assert!(page.contains(&line) || (tokens == 0 && !is_measured), "{page:.1000}");
    }
}

/// Makes tests run one at a time: descriptors belong to the process, and time to the machine.
pub(crate) fn exclusive() -> MutexGuard<'static, ()> {
    static EXCLUSIVE: Mutex<()> = Mutex::new(());
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}
