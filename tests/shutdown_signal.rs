//! `shutdown_signal`, in a child process: this test binary runs itself.

#![cfg(all(feature = "serve", unix))]

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use parsec_telemetry::{Aggregator, PresenceStats, Server, Source, shutdown_signal};
use rustix::process::{Pid, Signal, kill_process};
use support::client::Client;
use support::poll::poll;

#[allow(dead_code)]
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod socket;
}

const IS_CHILD: &str = "PARSEC_SHUTDOWN_SIGNAL_CHILD";
const ADDRESS: &str = "address: ";
const COLLECTING: &str = "collecting";
const DRAINED: &str = "drained";

#[test]
fn sigterm_drains_the_server_and_ends_the_process_with_0() {
    assert_signal_drains(Signal::TERM);
}

#[test]
fn ctrl_c_drains_the_server_and_ends_the_process_with_0() {
    assert_signal_drains(Signal::INT);
}

#[test]
fn second_signal_does_not_end_a_draining_process() {
    let mut child = TestProcess::start();
    let mut client = child.block_a_request();
    for signal in [Signal::TERM, Signal::INT, Signal::TERM] {
        child.send(signal);
        child.wait_until_draining();
    }
    child.unblock();
    assert_eq!(client.read_reply().status, 200);
    child.assert_drained();
}

#[test]
fn other_signal_ends_the_process_at_once() {
    let mut child = TestProcess::start();
    child.send(Signal::USR1);
    let status = child.wait();
    assert_eq!(status.code(), None, "ended by the signal");
}

/// The server of the other tests, in a process of its own.
#[test]
fn child() {
    /// Waits for a line on standard input.
    struct ReadsLine;
    impl Source for ReadsLine {
        fn presence(&self) -> Option<PresenceStats> {
            println!("\n{COLLECTING}");
            io::stdin().read_line(&mut String::new()).ok()?;
            Some(PresenceStats { total_users: 1, ..Default::default() })
        }
    }
    if env::var_os(IS_CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        println!("\n{ADDRESS}{}", listener.local_addr().expect("an address"));
        let never = Duration::from_secs(600);
        let server = Server::builder(Aggregator::new().source(ReadsLine)).scrape_timeout(never).drain_timeout(never);
        server.build().serve(listener, shutdown_signal()).await.expect("the server ends without an error");
    });
    println!("\n{DRAINED}");
}

fn assert_signal_drains(signal: Signal) {
    let mut child = TestProcess::start();
    let mut client = child.block_a_request();
    child.send(signal);
    child.wait_until_draining();
    assert!(child.process.try_wait().expect("a child").is_none(), "a request is in flight");
    child.unblock();
    let reply = client.read_reply();
    assert_eq!(reply.status, 200);
    let page = String::from_utf8(reply.body).expect("UTF-8");
    assert!(page.contains("\"total_users\":1"), "{page}");
    child.assert_drained();
}

struct TestProcess {
    process: Child,
    stdout: BufReader<ChildStdout>,
    address: std::net::SocketAddr,
}

impl TestProcess {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(IS_CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut child = Self { process, stdout, address: (Ipv4Addr::LOCALHOST, 0).into() };
        child.address = child.read_line(ADDRESS).parse().expect("an address");
        // The server has been polled once it answers: the handlers of the signals are installed.
        assert_eq!(Client::connect(child.address).get("/healthz").status, 200);
        child
    }

    /// Sends a request that the source blocks.
    fn block_a_request(&mut self) -> Client {
        let mut client = Client::connect(self.address);
        client.send_get("/parsec/metrics");
        self.read_line(COLLECTING);
        client
    }

    fn unblock(&mut self) {
        self.process.stdin.as_mut().expect("piped").write_all(b"\n").expect("the source reads");
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the child still runs");
    }

    fn wait_until_draining(&self) {
        poll("readiness is 503", || {
            // A connection that was accepted before the signal is closed as idle.
            let mut client = Client::connect(self.address);
            client.send_get("/readyz");
            client.stream.peek(&mut [0]).is_ok_and(|read| read > 0).then_some(())?;
            (client.read_reply().status == 503).then_some(())
        });
    }

    fn assert_drained(&mut self) {
        self.read_line(DRAINED);
        assert_eq!(self.wait().code(), Some(0));
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        poll("the end of the child", || self.process.try_wait().expect("a child"))
    }

    /// Reads up to a line that begins with `start`, and returns the rest of it.
    fn read_line(&mut self, start: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.stdout.read_line(&mut line).expect("UTF-8");
            assert_ne!(read, 0, "the child ended before {start:?}");
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
