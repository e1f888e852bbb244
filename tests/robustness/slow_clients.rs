//! Clients that send or read slowly, or disconnect early.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;

use crate::local_server::LocalServer;
use crate::support::poll::poll;
use crate::wire::read_to_close;
use crate::{GET_JSON, NEVER, SHORT, sources};

#[test]
fn silent_client_is_disconnected_after_header_read_timeout() {
    let server = LocalServer::start(|server| server.header_read_timeout(SHORT));
    let mut client = server.connect();
    assert_eq!(read_to_close(&mut client), "");
    drop(client);
    server.assert_recovers();
}

#[test]
fn client_that_sends_single_bytes_is_disconnected_after_header_read_timeout() {
    let server = LocalServer::start(|server| server.header_read_timeout(SHORT));
    let mut client = server.connect();
    let mut bytes = GET_JSON.bytes().cycle();
    poll("the connection is closed", || {
        thread::sleep(SHORT / 8);
        let byte = bytes.next().expect("a cycle is endless");
        client.write_all(&[byte]).err()
    });
    drop(client);
    server.assert_recovers();
}

#[test]
fn client_that_does_not_read_is_disconnected_after_write_timeout() {
    let server =
        LocalServer::with_aggregator(sources::large(), |server| server.write_timeout(SHORT).idle_timeout(NEVER));
    let mut client = server.connect();
    // The responses exceed the socket buffers, so the server has to wait.
    client.write_all(GET_JSON.repeat(80).as_bytes()).expect("sent");
    poll("the connection is closed", || client.write_all(b"x").err());
    drop(client);
    server.assert_recovers();
}

/// Each single read is in time. All of them together are not.
#[test]
fn client_that_reads_slowly_is_disconnected_after_write_timeout() {
    let server =
        LocalServer::with_aggregator(sources::large(), |server| server.write_timeout(2 * SHORT).idle_timeout(NEVER));
    let mut client = server.connect();
    client.write_all(GET_JSON.repeat(80).as_bytes()).expect("sent");
    let mut buffer = [0; 4096];
    poll("the connection is closed", || {
        thread::sleep(SHORT / 8);
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => Some(()),
            Ok(_) => client.write_all(b"x").is_err().then_some(()),
        }
    });
    drop(client);
    server.assert_recovers();
}

#[test]
fn half_closed_connection_receives_its_response() {
    let server = LocalServer::start(|server| server);
    let mut client = server.connect();
    client.write_all(GET_JSON.as_bytes()).expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    let response = read_to_close(&mut client);
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    drop(client);
    server.assert_recovers();
}

#[test]
fn client_that_disconnects_during_the_response_leaves_nothing_open() {
    let server = LocalServer::with_aggregator(sources::large(), |server| server);
    for _ in 0..5 {
        let mut client = server.connect();
        client.write_all(GET_JSON.as_bytes()).expect("sent");
        client.read_exact(&mut [0; 100]).expect("the first bytes");
        // The unread bytes reset the connection.
        drop(client);
    }
    server.assert_recovers();
}
