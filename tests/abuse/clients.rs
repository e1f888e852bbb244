//! Clients of every ill kind, one kind at a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};
use std::{env, thread};

use parsec_telemetry::{Aggregator, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::outside::{Kind, Outside, may_open};
use crate::site::{Site, alone, runtime};
use crate::sources;
use crate::watch::Watch;
use crate::wire::{answer_to, ask, connect, poll, rest};
use crate::{GET, GET_READY, IN_TIME, NEVER, PATIENCE, SOON};

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
            assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
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

/// Against 256 places, whose holders may stay: health is answered, and so is the scraper that was
/// there before; whoever else wants the page is told why not.
#[test]
fn five_thousand_idle_connections_are_outlived() {
    let enough = may_open(5_500);
    if !enough {
        assert!(env::var_os("CI").is_none(), "CI skips nothing");
        eprintln!("skipped: this process may not open 5,000 connections");
        return;
    }
    let server = Outside::start(Kind::Patient);
    let mut idle: Vec<TcpStream> = Vec::new();
    let mut watch = Watch::of(&server, 0);
    watch.looks_on(|| {
        // Not all at once: the system's queue has an end.
        for _ in 0..250 {
            idle.push(connect(server.at));
        }
        idle.len() < 5_000
    });
    let all = Instant::now();
    watch.looks_on(|| all.elapsed() < IN_TIME);
    assert_eq!(idle.len(), 5_000);
    drop(idle);
    watch.sees_it_well();
    println!("5,000 idle connections: {watch}");
}

#[test]
fn who_is_idle_for_too_long_makes_room() {
    let site = Site::start(|server| server.max_connections(4).header_timeout(SOON));
    let idle: Vec<TcpStream> = (0..100).map(|_| site.connect()).collect();
    poll("a place", || {
        let answer = site.ask(GET);
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    });
    drop(idle);
    site.is_well();
}

/// This process's descriptors would run out with the server's, so the server is another.
#[test]
fn it_runs_out_of_descriptors_and_recovers() {
    let mut server = Outside::start(Kind::Few);
    let ask = |at, request| ask(at, request).ok();
    let many: Vec<TcpStream> = (0..100).map(|_| connect(server.at)).collect();
    // It does not answer, and it does not spin.
    let before = server.cpu_ticks();
    thread::sleep(Duration::from_secs(1));
    let spent = server.cpu_ticks() - before;
    assert!(spent < 20, "{spent} ticks of a hundred");
    assert!(server.is_running());
    let worst = server.takes();
    drop(many);
    poll("the page", || {
        ask(server.at, GET).filter(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
    let after = poll("descriptors are back", || {
        let now = server.takes();
        (now.descriptors <= server.before.descriptors).then_some(now)
    });
    let before = server.before;
    println!("out of descriptors: before {before}; worst {worst}; after {after}");
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
    let site = Site::of(sources::long(), |server| {
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
    let site = Site::of(sources::long(), |server| {
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
    let site = Site::of(sources::long(), |server| server);
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

/// What each is, its bytes, and the statuses that may come of it; none, where it may be closed.
pub(crate) fn out_of_bounds() -> Vec<(&'static str, String, &'static [&'static str])> {
    let headers = |count| "x: y\r\n".repeat(count);
    vec![
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
    ]
}

/// Each of these is answered or closed; none is served twice, and none hangs.
#[test]
fn requests_out_of_bounds_are_answered_or_closed() {
    let site = Site::start(|server| server.header_timeout(2 * SOON).idle_timeout(SOON));
    for (what, request, statuses) in out_of_bounds() {
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
fn it_ends_in_time_with_all_of_them_there_and_again_while_it_drains() {
    let mut site = Site::of(sources::long(), |server| {
        server
            .header_timeout(NEVER)
            .idle_timeout(NEVER)
            .write_timeout(NEVER)
            .drain_timeout(SOON)
    });
    let all = |at| {
        let begun = [
            "",
            "G",
            "GET / HTTP/1.1\r\nhost: x\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nx",
            &GET.repeat(80),
        ];
        begun.map(|sent| {
            // Who comes while it drains may be too late.
            let mut client = TcpStream::connect(at).ok()?;
            client.write_all(sent.as_bytes()).ok()?;
            Some(client)
        })
    };
    let before = all(site.at);
    assert!(before.iter().all(Option::is_some));
    let ended = Instant::now();
    site.shut_down();
    let late: Vec<_> = (0..10)
        .map(|_| {
            site.server.begin_draining();
            all(site.at)
        })
        .collect();
    site.has_ended();
    assert!(
        ended.elapsed() < SOON + Duration::from_secs(2),
        "{:?}",
        ended.elapsed()
    );
    drop((before, late));
}

/// Who will not wait for the drain drops the future, and with it all that is open.
#[test]
fn dropped_while_it_drains_it_ends_at_once() {
    let _alone = alone();
    let runtime = runtime();
    let server = Server::builder(Aggregator::new()).drain_timeout(NEVER);
    let (at, mut client) = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let at = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn(server.build().serve(listener, ended));
        // It may not go: it is in the middle of a request.
        let (client, answered) = tokio::task::spawn_blocking(move || {
            let mut client = connect(at);
            client.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
            let answered = ask(at, GET_READY).expect("an answer");
            (client, answered)
        })
        .await
        .expect("no panic");
        assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
        end.send(()).expect("it still runs");
        let draining = tokio::task::spawn_blocking(move || {
            poll("it drains", || {
                let answer = ask(at, GET_READY).ok()?;
                answer.starts_with("HTTP/1.1 503 ").then_some(())
            });
        });
        draining.await.expect("no panic");
        assert!(!serving.is_finished());
        serving.abort();
        assert!(serving.await.expect_err("aborted").is_cancelled());
        (at, client)
    });
    assert_eq!(rest(&mut client), "");
    std::net::TcpListener::bind(at).expect("the port is free");
}
