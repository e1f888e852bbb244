//! More connections than the server, or its process, may have.

use std::env;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::Aggregator;
use tokio::net::TcpListener;

use crate::child_server::{ChildServer, Kind, allow_descriptors};
use crate::local_server::{LocalServer, runtime};
use crate::observer::Observer;
use crate::support::poll::{DEADLINE, poll};
use crate::support::socket::connect;
use crate::wire::request;
use crate::{GET_HEALTH, GET_JSON, GET_READY, NEVER, SHORT};

/// The last words of the response to a page beyond the limit.
const LIMIT_REACHED: &str = "retry, or raise max_connections\n";

#[test]
fn probes_are_answered_and_pages_refused_while_the_limit_is_reached() {
    let server = LocalServer::start(|server| server.max_connections(4).header_read_timeout(NEVER).idle_timeout(NEVER));
    let idle: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    for _ in 0..10 {
        for probe in [GET_HEALTH, GET_READY] {
            let response = server.request(probe);
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
    }
    let response = server.request(GET_JSON);
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    assert!(response.ends_with(LIMIT_REACHED), "{response}");
    drop(idle);
    server.assert_recovers();
}

#[test]
fn closed_connection_makes_room_for_the_next() {
    let server = LocalServer::start(|server| server.max_connections(1));
    for _ in 0..20 {
        poll("a connection within the limit", || {
            let mut only = server.connect();
            only.write_all(GET_JSON.as_bytes()).ok()?;
            let mut status = [0; 13];
            only.read_exact(&mut status).ok()?;
            (status == *b"HTTP/1.1 200 ").then_some(())
        });
    }
    server.assert_recovers();
}

/// With a limit of 256, and no idle timeout.
#[test]
fn five_thousand_idle_connections_do_not_delay_probes_and_known_scrapers() {
    if !allow_descriptors(5_500) {
        assert!(env::var_os("CI").is_none(), "CI skips no test");
        eprintln!("skipped: this process may not open 5,500 descriptors");
        return;
    }
    let server = ChildServer::start(Kind::NoTimeouts);
    let mut idle: Vec<TcpStream> = Vec::new();
    let mut observer = Observer::new(&server, 0);
    observer.observe_while(|| {
        // A larger burst overflows the listen backlog.
        for _ in 0..250 {
            idle.push(connect(server.address));
        }
        idle.len() < 5_000
    });
    let all_open = Instant::now();
    observer.observe_while(|| all_open.elapsed() < Duration::from_secs(1));
    assert_eq!(idle.len(), 5_000);
    drop(idle);
    observer.assert_recovers();
    println!("5,000 idle connections: {observer}");
}

#[test]
fn idle_connections_beyond_the_limit_make_room_after_header_read_timeout() {
    let server = LocalServer::start(|server| server.max_connections(4).header_read_timeout(SHORT));
    let idle: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    poll("a connection within the limit", || {
        let response = server.request(GET_JSON);
        response.starts_with("HTTP/1.1 200 ").then_some(())
    });
    drop(idle);
    server.assert_recovers();
}

#[test]
fn server_without_descriptors_does_not_spin_and_recovers() {
    let mut server = ChildServer::start(Kind::FewDescriptors);
    let many: Vec<TcpStream> = (0..100).map(|_| connect(server.address)).collect();
    // An accept loop that spins would use all of this second.
    let before = server.cpu_ticks();
    thread::sleep(Duration::from_secs(1));
    let ticks = server.cpu_ticks() - before;
    assert!(ticks < 20, "{ticks} hundredths of a second");
    assert!(server.is_running());
    let max = server.usage();
    drop(many);
    poll("the page", || {
        let response = request(server.address, GET_JSON).ok()?;
        response.starts_with("HTTP/1.1 200 ").then_some(())
    });
    let before = server.baseline;
    let after = poll("the descriptors are closed", || {
        let now = server.usage();
        (now.descriptors <= before.descriptors).then_some(now)
    });
    println!("out of descriptors: before {before}; maximum {max}; after {after}");
}

#[test]
fn second_listener_on_the_port_is_refused() {
    let server = LocalServer::start(|server| server);
    let error = std::net::TcpListener::bind(server.address).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    server.assert_recovers();
}

/// Every later `accept` would fail.
#[test]
fn listener_that_is_shut_down_ends_the_server_with_an_error() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.set_nonblocking(true).expect("an option");
    let duplicate = listener.try_clone().expect("a second handle");
    let duplicate: TcpStream = std::os::fd::OwnedFd::from(duplicate).into();
    let result = runtime().block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let shutdown = std::future::pending::<()>();
        let server = parsec_telemetry::serve(listener, Aggregator::new(), shutdown);
        let server = tokio::spawn(server);
        duplicate.shutdown(Shutdown::Both).expect("shut down");
        tokio::time::timeout(DEADLINE, server).await
    });
    let result = result.expect("the server ends in time").expect("the server does not panic");
    assert_eq!(result.expect_err("an error").kind(), ErrorKind::InvalidInput);
}
