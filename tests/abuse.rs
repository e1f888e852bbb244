//! Clients that mean ill, or know no better, over raw sockets.
//!
//! After each of them the page answers right within a second, and the descriptors are back. So the
//! tests here run one at a time.

// Without `serve` there is nothing to abuse; without Linux, nobody who counts descriptors.
#![cfg(all(feature = "serve", target_os = "linux"))]

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use parsec_telemetry::{Aggregator, ChannelStats, Server, ServerBuilder, Snapshot, Source};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(10);

/// A timeout that a test sets so that it runs out.
const SOON: Duration = Duration::from_millis(200);

/// A timeout that a test sets so that it does not run out.
const NEVER: Duration = Duration::from_secs(600);

const GET: &str = "GET /parsec/metrics HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_TEXT: &str = "GET /parsec/telemetry/metrics HTTP/1.1\r\nhost: x\r\n\r\n";

// Places

/// 100 idle clients where there are 4 places: every place is taken, and so is the queue.
#[test]
fn health_is_answered_within_a_second_while_every_place_is_taken() {
    let site = Site::start(|server| {
        server
            .max_connections(4)
            .header_timeout(NEVER)
            .idle_timeout(NEVER)
    });
    let idle: Vec<TcpStream> = (0..100).map(|_| site.connect()).collect();
    for _ in 0..10 {
        for (path, status) in [("/healthz", "200"), ("/readyz", "200")] {
            let asked = Instant::now();
            let answer = site.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert!(
                asked.elapsed() < Duration::from_secs(1),
                "{:?}",
                asked.elapsed()
            );
        }
    }
    // Whoever wants the page is told why not.
    let answer = site.ask(GET);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.ends_with("raise the limit\n"), "{answer}");
    drop(idle);
    site.is_well();
}

#[test]
fn a_place_that_comes_free_is_taken() {
    let site = Site::start(|server| server.max_connections(1));
    for _ in 0..20 {
        poll("the only place", || {
            let mut only = site.connect();
            let answer = answer_to(&mut only, GET).ok()?;
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
    }
    site.is_well();
}

#[test]
fn thousands_of_idle_connections_come_and_go() {
    let site = Site::start(|server| server.header_timeout(SOON));
    let idle: Vec<TcpStream> = (0..800).map(|_| site.connect()).collect();
    let answer = site.ask("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(idle);
    site.is_well();
}

/// This process's descriptors would run out with the server's, so the server is another.
#[test]
fn it_runs_out_of_descriptors_and_recovers() {
    let (mut child, at) = Descriptors::few();
    let ask = |request| ask(at, request);
    assert!(ask(GET).expect("an answer").starts_with("HTTP/1.1 200 "));
    let many: Vec<TcpStream> = (0..100).map(|_| connect(at)).collect();
    // It does not answer, and it does not spin.
    let before = child.cpu_ticks();
    thread::sleep(Duration::from_secs(1));
    let spent = child.cpu_ticks() - before;
    assert!(spent < 20, "{spent} ticks of a hundred");
    assert!(child.is_running());
    drop(many);
    poll("the page", || {
        ask(GET)
            .ok()
            .filter(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
}

/// The server of the test above: it runs where the environment says so.
#[test]
fn a_server_with_few_descriptors() {
    if env::var_os("PARSEC_FEW_DESCRIPTORS").is_none() {
        return;
    }
    let site = Site::start(|server| server.header_timeout(NEVER));
    println!("listening at {}", site.at);
    // Until the other side goes away.
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn a_port_in_use_is_said_to_be() {
    let site = Site::start(|server| server);
    let error = std::net::TcpListener::bind(site.at).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    site.is_well();
}

/// Somebody else's hand on the descriptor: `accept` would fail for ever.
#[test]
fn a_listener_that_is_shut_down_ends_the_server_with_an_error() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("an option");
    let hand: TcpStream = std::os::fd::OwnedFd::from(listener.try_clone().expect("a twin")).into();
    let runtime = runtime();
    let served = runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let serving =
            parsec_telemetry::serve(listener, Aggregator::new(), std::future::pending::<()>());
        let serving = tokio::spawn(serving);
        hand.shutdown(Shutdown::Both).expect("shut down");
        tokio::time::timeout(PATIENCE, serving).await
    });
    let ended = served.expect("in time").expect("no panic");
    assert_eq!(ended.expect_err("an error").kind(), ErrorKind::InvalidInput);
}

// Clients that take their time

#[test]
fn who_says_nothing_is_let_go() {
    let site = Site::start(|server| server.header_timeout(SOON));
    let mut silent = site.connect();
    assert_eq!(rest(&mut silent), "");
    drop(silent);
    site.is_well();
}

#[test]
fn a_byte_now_and_then_is_no_request() {
    let site = Site::start(|server| server.header_timeout(SOON));
    let mut slow = site.connect();
    let begun = Instant::now();
    for byte in GET.bytes().cycle() {
        if slow.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(SOON / 8);
        assert!(begun.elapsed() < PATIENCE, "still listened to");
    }
    drop(slow);
    site.is_well();
}

#[test]
fn who_does_not_read_is_let_go() {
    let site = Site::of(Aggregator::new().source(Long), |server| {
        server.write_timeout(SOON).idle_timeout(NEVER)
    });
    let mut client = site.connect();
    client.write_all(GET.repeat(80).as_bytes()).expect("sent");
    // Nothing is read: what the sockets hold is full, and the rest waits until the server is rid
    // of it. Then this side's next write finds nobody.
    poll("it is let go", || client.write_all(b"x").err());
    drop(client);
    site.is_well();
}

/// Each of its reads is in time, and all of them together are not.
#[test]
fn who_reads_a_little_now_and_then_is_let_go() {
    let site = Site::of(Aggregator::new().source(Long), |server| {
        server.write_timeout(2 * SOON).idle_timeout(NEVER)
    });
    let mut client = site.connect();
    client.write_all(GET.repeat(80).as_bytes()).expect("sent");
    let mut little = [0; 4096];
    poll("it is let go", || {
        thread::sleep(SOON / 8);
        match client.read(&mut little) {
            Ok(0) | Err(_) => Some(()),
            Ok(_) => client.write_all(b"x").is_err().then_some(()),
        }
    });
    drop(client);
    site.is_well();
}

#[test]
fn who_closes_a_half_gets_the_answer() {
    let site = Site::start(|server| server);
    let mut client = site.connect();
    client.write_all(GET.as_bytes()).expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    let answer = rest(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(client);
    site.is_well();
}

#[test]
fn who_goes_in_the_middle_of_the_answer_is_forgotten() {
    let site = Site::of(Aggregator::new().source(Long), |server| server);
    for _ in 0..5 {
        let mut client = site.connect();
        client.write_all(GET.as_bytes()).expect("sent");
        client.read_exact(&mut [0; 100]).expect("a beginning");
        // Unread bytes make this a reset.
        drop(client);
    }
    site.is_well();
}

// What is no request, or too much of one

/// Each of these is answered or closed; none is served twice, and none hangs.
#[test]
fn requests_out_of_bounds_are_answered_or_closed() {
    let site = Site::start(|server| server.header_timeout(2 * SOON).idle_timeout(SOON));
    let headers = |count| "x: y\r\n".repeat(count);
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("101 headers", format!("GET /healthz HTTP/1.1\r\n{}\r\n", headers(101)), &["431"]),
        ("100 headers", format!("GET /healthz HTTP/1.1\r\n{}\r\n", headers(100)), &["200"]),
        ("64 KB of header", format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(65536)), &["431", ""]),
        ("64 KB of Accept", format!("GET /healthz HTTP/1.1\r\naccept: {}\r\n\r\n", "a/b,".repeat(16384)), &["431", ""]),
        ("100 KB of URI", format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100_000)), &["414", "431", ""]),
        ("an unknown verb", "BREW /healthz HTTP/1.1\r\nhost: x\r\n\r\n".into(), &["405"]),
        ("TRACE", "TRACE /healthz HTTP/1.1\r\nhost: x\r\n\r\n".into(), &["405"]),
        ("CONNECT", "CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n".into(), &["404"]),
        ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".into(), &["404"]),
        ("absolute form", "GET http://a.test/healthz HTTP/1.1\r\nhost: x\r\n\r\n".into(), &["200"]),
        ("HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".into(), &["200"]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["400", "505", ""]),
        ("two lengths", "GET /healthz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".into(), &["400"]),
        ("a length and chunks", "GET /healthz HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(), &["200", "400"]),
        ("a length below zero", "GET /healthz HTTP/1.1\r\ncontent-length: -1\r\n\r\n".into(), &["400"]),
        ("a folded header", "GET /healthz HTTP/1.1\r\nx: y\r\n z\r\n\r\n".into(), &["400"]),
        ("bare line feeds", "GET /healthz HTTP/1.1\nhost: x\n\n".into(), &["200", "400"]),
        ("NUL in a header", "GET /healthz HTTP/1.1\r\nx: \0\r\n\r\n".into(), &["400"]),
        ("NUL in the path", "GET /\0 HTTP/1.1\r\n\r\n".into(), &["400"]),
        ("a space before the colon", "GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n".into(), &["400"]),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into(), &["400", ""]),
    ];
    for (what, request, statuses) in cases {
        let mut client = site.connect();
        // It may have been closed before it has taken everything.
        let _ = client.write_all(request.as_bytes());
        let answer = rest(&mut client);
        let status = answer.split(' ').nth(1).unwrap_or("");
        assert!(statuses.contains(&status), "{what}: {answer:?}");
        drop(client);
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            usize::from(!status.is_empty()),
            "{what}: {answer:?}"
        );
        site.is_well();
    }
}

#[test]
fn a_body_without_end_is_not_read_to_its_end() {
    let site = Site::start(|server| server);
    let mut client = site.connect();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .expect("sent");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    poll("it no longer listens", || {
        client.write_all(chunk.as_bytes()).err()
    });
    drop(client);
    site.is_well();
}

#[test]
fn a_thousand_pipelined_requests_get_a_thousand_answers() {
    let site = Site::start(|server| server);
    let mut client = site.connect();
    let mut sender = client.try_clone().expect("the same socket");
    let sending = thread::spawn(move || {
        let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let all = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(999) + last;
        sender.write_all(all.as_bytes())
    });
    let answers = rest(&mut client);
    sending.join().expect("no panic").expect("sent");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 1000);
    drop(client);
    site.is_well();
}

// The end

#[test]
fn it_ends_in_time_with_all_of_them_there() {
    let mut site = Site::of(Aggregator::new().source(Long), |server| {
        server
            .header_timeout(NEVER)
            .idle_timeout(NEVER)
            .write_timeout(NEVER)
            .drain_timeout(SOON)
    });
    let begun = [
        "",
        "G",
        "GET / HTTP/1.1\r\nhost: x\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nx",
    ];
    let clients: Vec<TcpStream> = begun
        .iter()
        .chain(&[GET.repeat(80).as_str()])
        .map(|sent| {
            let mut client = site.connect();
            client.write_all(sent.as_bytes()).expect("sent");
            client
        })
        .collect();
    let ended = Instant::now();
    site.shut_down();
    // More of them while it drains.
    let late: Vec<TcpStream> = (0..50)
        .filter_map(|_| TcpStream::connect(site.at).ok())
        .collect();
    site.has_ended();
    assert!(
        ended.elapsed() < SOON + Duration::from_secs(2),
        "{:?}",
        ended.elapsed()
    );
    drop((clients, late));
}

// Sources

/// Reports a quarter of a mebibyte of patterns.
struct Long;

impl Source for Long {
    fn channels(&self) -> Option<ChannelStats> {
        let pattern = |n: u64| (format!("{n:0>1024}"), n);
        Some(ChannelStats {
            total_active: 0,
            by_pattern: (0..256).map(pattern).collect(),
        })
    }
}

// A server, and what it has to withstand

struct Site {
    at: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<io::Result<()>>>,
    descriptors: usize,
    /// Descriptors are the process's, so there is one site at a time.
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    fn start(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::of(Aggregator::new(), set)
    }

    fn of(aggregator: Aggregator, set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let server = set(Server::builder(aggregator)).build();
        let runtime = runtime();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a free port");
        let at = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel();
        let serving = thread::spawn(move || runtime.block_on(server.serve(listener, ended)));
        let mut site = Self {
            at,
            end: Some(end),
            serving: Some(serving),
            descriptors: 0,
            _alone: alone,
        };
        // What a first page needs stays open.
        site.answers();
        poll("the first clients are gone", || {
            let now = descriptors();
            let still = std::mem::replace(&mut site.descriptors, now) == now;
            still.then_some(())
        });
        site
    }

    fn connect(&self) -> TcpStream {
        connect(self.at)
    }

    fn ask(&self, request: &str) -> String {
        ask(self.at, request).expect("an answer")
    }

    /// Both pages answer right, each within a second. (To look through a long one may
    /// take this side as long.)
    fn answers(&self) {
        let page = self.page(GET);
        serde_json::from_str::<Snapshot>(&page).expect("a snapshot");
        let page = self.page(GET_TEXT);
        let line = "\nparsec_telemetry_tokens_active 0\n";
        assert!(page.contains(line), "{page:.1000}");
    }

    fn page(&self, request: &str) -> String {
        let asked = Instant::now();
        let answer = self.ask(request);
        let took = asked.elapsed();
        let (head, page) = answer.split_once("\r\n\r\n").expect("headers");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        page.to_owned()
    }

    /// The pages answer right within a second, and what was opened is closed.
    fn is_well(&self) {
        // All places may still be about to come free.
        let asked = Instant::now();
        poll("a place", || {
            let answer = self.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        self.answers();
        poll("descriptors are back", || {
            (descriptors() <= self.descriptors).then_some(())
        });
    }

    fn shut_down(&mut self) {
        let end = self.end.take().expect("once");
        end.send(()).expect("it still runs");
    }

    fn has_ended(&mut self) {
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&at, PATIENCE).expect("a connection");
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).expect("a timeout");
    }
    stream.set_nodelay(true).expect("an option");
    stream
}

/// The answer to a request that is the last on its connection.
fn ask(at: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = request.replacen("host: x\r\n", "host: x\r\nconnection: close\r\n", 1);
    answer_to(&mut stream, &request)
}

fn answer_to(stream: &mut TcpStream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    if request.contains("connection: close") {
        stream.read_to_end(&mut answer)?;
    } else {
        // One segment is as good as all of a small page.
        let mut part = [0; 4096];
        let length = stream.read(&mut part)?;
        answer.extend(&part[..length]);
    }
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// All that comes until the connection is closed, one way or the other.
fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let mut part = [0; 16384];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => rest.extend(&part[..length]),
            // Bytes that the server has not read turn its close into a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&rest).into_owned()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Another process, whose descriptors are few.
struct Descriptors(Child);

impl Descriptors {
    fn few() -> (Self, SocketAddr) {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(env::current_exe().expect("this program"))
            .args(["--exact", "a_server_with_few_descriptors", "--nocapture"])
            .env("PARSEC_FEW_DESCRIPTORS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let said = child.stdout.take().expect("a pipe");
        let child = Self(child);
        let address = BufReader::new(said)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening at ")?.1.to_owned()));
        (
            child,
            address
                .expect("where it listens")
                .parse()
                .expect("an address"),
        )
    }

    /// Hundredths of a second that it has spent.
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("Linux");
        let (_, behind_the_name) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<&str> = behind_the_name.split(' ').collect();
        [fields[11], fields[12]]
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .iter()
            .sum()
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until there is an answer.
fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited for in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
