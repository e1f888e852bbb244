//! Shutdown while clients are connected.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};

use parsec_telemetry::{Aggregator, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::local_server::{LocalServer, exclusive, runtime};
use crate::support::poll::poll;
use crate::support::socket::connect;
use crate::wire::{read_to_close, request};
use crate::{GET_JSON, GET_READY, NEVER, SHORT, sources};

/// Every other timeout is longer than the test waits.
#[test]
fn server_with_stalled_clients_ends_after_drain_timeout() {
    let mut server = LocalServer::with_aggregator(sources::large(), |server| {
        server.header_read_timeout(NEVER).idle_timeout(NEVER).write_timeout(NEVER).drain_timeout(SHORT)
    });
    let stalled_clients = |address| {
        let sent = [
            "",
            "G",
            "GET / HTTP/1.1\r\nhost: localhost\r\n",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx",
            &GET_JSON.repeat(80),
        ];
        sent.map(|sent| {
            // Fails once the server has ended.
            let mut client = TcpStream::connect(address).ok()?;
            client.write_all(sent.as_bytes()).ok()?;
            Some(client)
        })
    };
    let before = stalled_clients(server.address);
    assert!(before.iter().all(Option::is_some));
    server.shut_down();
    let during: Vec<_> = (0..10)
        .map(|_| {
            server.server.begin_draining();
            stalled_clients(server.address)
        })
        .collect();
    server.join();
    drop((before, during));
}

#[test]
fn dropping_the_server_while_it_drains_closes_every_connection() {
    let _exclusive = exclusive();
    let server = Server::builder(Aggregator::new()).drain_timeout(NEVER);
    let (address, mut client) = runtime().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, receiver) = oneshot::channel();
        let task = tokio::spawn(server.build().serve(listener, receiver));
        // An incomplete request keeps the server draining.
        let client = spawn_blocking(move || {
            let mut client = connect(address);
            client.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
            let ready = request(address, GET_READY).expect("a response");
            assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
            client
        });
        let client = client.await.expect("no panic");
        shutdown.send(()).expect("the server still runs");
        let draining = spawn_blocking(move || {
            poll("readiness is 503", || {
                let response = request(address, GET_READY).ok()?;
                response.starts_with("HTTP/1.1 503 ").then_some(())
            });
        });
        draining.await.expect("no panic");
        assert!(!task.is_finished());
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
        (address, client)
    });
    assert_eq!(read_to_close(&mut client), "");
    std::net::TcpListener::bind(address).expect("the port is free");
}
