//! A server on a free port, with a runtime of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use parsec_telemetry::{Aggregator, Server, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::Client;
use super::poll::DEADLINE;

pub(crate) struct RunningServer {
    pub(crate) address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<io::Result<()>>>,
    runtime: Option<Runtime>,
}

impl RunningServer {
    /// Runs `server` on four worker threads.
    pub(crate) fn start<F>(ip: impl Into<IpAddr>, server: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_on(4, ip, server)
    }

    pub(crate) fn start_on<F>(
        worker_threads: usize,
        ip: impl Into<IpAddr>,
        server: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_at((ip.into(), 0).into(), worker_threads, server)
    }

    pub(crate) fn start_at<F>(
        address: SocketAddr,
        worker_threads: usize,
        server: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(worker_threads)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, receiver) = oneshot::channel();
        let task = runtime.spawn(server(listener, receiver));
        Self { address, shutdown: Some(shutdown), task: Some(task), runtime: Some(runtime) }
    }

    pub(crate) fn of(server: Server) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, |listener, shutdown| server.serve(listener, shutdown))
    }

    /// Calls [`serve`].
    pub(crate) fn serve(aggregator: Aggregator) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, |listener, shutdown| serve(listener, aggregator, shutdown))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn shut_down(&mut self) {
        let shutdown = self.shutdown.take().expect("called once");
        shutdown.send(()).expect("the server still runs");
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the server has returned, and asserts that it returned `Ok`.
    pub(crate) fn join(mut self) {
        let task = self.task.take().expect("called once");
        let runtime = self.runtime.as_ref().expect("present until the drop");
        runtime
            .block_on(async { tokio::time::timeout(DEADLINE, task).await })
            .expect("the server returns in time")
            .expect("the server does not panic")
            .expect("the server returns no error");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // A source may still block a thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
