//! The `Host` of requests on connections that the server accepts: RFC 9112, 3.2, and DNS rebinding.

#![cfg(feature = "serve")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use http::{Request, StatusCode};
use parsec_telemetry::{Aggregator, Server, ServerBuilder};
use support::client::Client;
use support::server::RunningServer;

#[allow(dead_code)]
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod server;
    pub(crate) mod socket;
}

const JSON: &str = "/parsec/metrics";
/// Every path that is no probe, one of them unknown.
const GUARDED: [&str; 6] = ["/", JSON, "/parsec/telemetry/metrics", "/metrics", "/parsec/series", "/no"];
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

#[test]
fn request_without_exactly_one_valid_host_is_answered_with_400() {
    let server = start(|server| server);
    for headers in [
        "",
        "host: localhost\r\nhost: localhost\r\n",
        "host: localhost\r\nHOST: other\r\n",
        "host:\r\n",
        "host: \r\n",
        "host: a b\r\n",
        "host: a,b\r\nhost: c\r\n",
        "host: user@localhost\r\n",
        "host: user:password@localhost\r\n",
        "host: localhost/\r\n",
        "host: http://localhost\r\n",
        "host: localhost?x\r\n",
        "host: localhost#x\r\n",
        "host: localhost:port\r\n",
        "host: localhost:80:80\r\n",
        "host: localhost:+80\r\n",
        "host: :80\r\n",
        "host: [::1\r\n",
        "host: ::1\r\n",
        "host: [localhost]\r\n",
        "host: [127.0.0.1]\r\n",
        "host: [::1]x\r\n",
        "host: [::1]]\r\n",
        "host: a[::1]\r\n",
        "host: []\r\n",
        "host: @\r\n",
        "host: local%68ost\r\n",
        "host: h\u{f6}st\r\n",
        "host: \\\r\n",
    ] {
        for path in GUARDED.iter().chain(&PROBES) {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                let request = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n");
                assert_eq!(status(server.address, &request), 400, "{request}");
            }
        }
    }
}

#[test]
fn absolute_target_does_not_excuse_a_missing_duplicate_or_invalid_host() {
    let server = start(|server| server);
    for headers in ["", "host: localhost\r\nhost: localhost\r\n", "host: a b\r\n"] {
        let request = format!("GET http://localhost{JSON} HTTP/1.1\r\n{headers}\r\n");
        assert_eq!(status(server.address, &request), 400, "{request}");
    }
}

#[test]
fn invalid_authority_in_the_target_is_answered_with_400() {
    let server = start(|server| server);
    for target in [
        "http://user@localhost/parsec/metrics",
        "http://localhost:port/parsec/metrics",
        "http:///parsec/metrics",
        "http://:80/parsec/metrics",
        "http://[::1/parsec/metrics",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(status(server.address, &request), 400, "{request}");
    }
}

#[test]
fn http_1_0_request_needs_no_host_but_not_two() {
    let server = start(|server| server);
    for (headers, expected) in [
        ("", 200),
        ("host: localhost\r\n", 200),
        ("host: localhost\r\nhost: localhost\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: evil.example\r\n", 421),
    ] {
        let request = format!("GET {JSON} HTTP/1.0\r\n{headers}\r\n");
        assert_eq!(status(server.address, &request), expected, "{request}");
    }
}

#[test]
fn foreign_host_on_loopback_is_answered_with_421_that_names_the_option() {
    let server = start(|server| server);
    for host in [
        "evil.example",
        "evil.example:9464",
        "EVIL.example.",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "localhost..",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "1.2.3.4.5",
        "host_name",
    ] {
        for path in GUARDED {
            let mut client = Client::connect(server.address);
            client.send(&get(path, host));
            let reply = client.read_reply();
            assert_eq!(reply.status, 421, "{host} {path}");
            assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
            let text = String::from_utf8(reply.body).expect("UTF-8");
            assert!(text.contains("allowed_hosts"), "{text}");
            assert!(text.contains(host), "{text}");
        }
    }
}

#[test]
fn local_host_on_loopback_is_served() {
    let server = start(|server| server);
    for host in [
        "localhost",
        "LocalHost",
        "localhost.",
        "localhost:",
        "localhost:1",
        "a.localhost",
        "A.b.LOCALHOST.:9464",
        "127.0.0.1",
        "127.0.0.1.:80",
        "0.0.0.0",
        "192.0.2.7:9464",
        "[::1]",
        "[::1]:9464",
        "[::FFFF:127.0.0.1]",
    ] {
        assert_eq!(status(server.address, &get(JSON, host)), 200, "{host}");
    }
}

#[test]
fn probe_with_a_foreign_host_is_answered() {
    let server = start(|server| server);
    for path in PROBES {
        assert_eq!(status(server.address, &get(path, "evil.example")), 200, "{path}");
    }
}

#[test]
fn allowed_host_is_served_in_any_spelling() {
    let server = start(|server| {
        server.allowed_hosts(["Telemetry.Example.:9464", "other.example", "", "a b", "http://c.example", "u@d.example"])
    });
    for (host, expected) in [
        ("telemetry.example", 200),
        ("TELEMETRY.example:1", 200),
        ("telemetry.example.:80", 200),
        ("other.example", 200),
        ("localhost", 200),
        ("sub.telemetry.example", 421),
        ("example", 421),
        ("c.example", 421),
        ("d.example", 421),
    ] {
        assert_eq!(status(server.address, &get(JSON, host)), expected, "{host}");
    }
}

#[test]
fn second_call_of_allowed_hosts_replaces_the_first() {
    let server = start(|server| server.allowed_hosts(["a.example"]).allowed_hosts(vec!["b.example".to_owned()]));
    assert_eq!(status(server.address, &get(JSON, "a.example")), 421);
    assert_eq!(status(server.address, &get(JSON, "b.example")), 200);
}

#[test]
fn authority_of_an_absolute_target_takes_precedence_over_host() {
    let server = start(|server| server);
    for (target, host, expected) in [
        ("localhost", "evil.example", 200),
        ("LOCALHOST.:80", "evil.example", 200),
        ("evil.example", "localhost", 421),
        ("evil.example:9464", "127.0.0.1", 421),
    ] {
        let request = format!("GET http://{target}{JSON} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(status(server.address, &request), expected, "{request}");
    }
}

#[test]
fn every_loopback_address_is_guarded() {
    for (bind, connect) in [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(127, 1, 2, 3))),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
        // The local address is ::ffff:127.0.0.1.
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ] {
        if UdpSocket::bind((connect, 0)).is_err() {
            eprintln!("skipped: this machine has no address {connect}");
            continue;
        }
        let server = start_on(bind, |server| server);
        let address = SocketAddr::new(connect, server.address.port());
        assert_eq!(status(address, &get(JSON, "evil.example")), 421, "{connect} on {bind}");
        assert_eq!(status(address, &get(JSON, "localhost")), 200, "{connect} on {bind}");
    }
}

#[test]
fn foreign_host_on_another_address_is_served() {
    let Some(ip) = other_address() else {
        eprintln!("skipped: this machine has loopback addresses only");
        return;
    };
    let server = start_on(ip, |server| server);
    assert_eq!(status(server.address, &get(JSON, "evil.example")), 200);
    assert_eq!(status(server.address, &format!("GET {JSON} HTTP/1.1\r\n\r\n")), 400);
}

#[test]
fn foreign_host_with_a_token_is_served() {
    let server = start(|server| server.bearer_token("token").expect("a valid token"));
    let request = |headers| format!("GET {JSON} HTTP/1.1\r\nhost: evil.example\r\n{headers}\r\n");
    assert_eq!(status(server.address, &request("authorization: Bearer token\r\n")), 200);
    assert_eq!(status(server.address, &request("")), 401);
    assert_eq!(status(server.address, &format!("GET {JSON} HTTP/1.1\r\n\r\n")), 400);
}

#[test]
fn connection_is_reused_after_400_and_421() {
    let server = start(|server| server);
    let mut client = Client::connect(server.address);
    for (request, expected) in
        [(get(JSON, "evil.example"), 421), (format!("GET {JSON} HTTP/1.1\r\n\r\n"), 400), (get(JSON, "localhost"), 200)]
    {
        client.send(&request);
        assert_eq!(client.read_reply().status, expected, "{request}");
    }
}

#[test]
fn rejected_scrapes_are_counted() {
    let server = start(|server| server);
    assert_eq!(status(server.address, &get("/metrics", "evil.example")), 421);
    assert_eq!(status(server.address, &format!("GET {JSON} HTTP/1.1\r\n\r\n")), 400);
    let mut client = Client::connect(server.address);
    let page = String::from_utf8(client.get("/metrics").body).expect("UTF-8");
    for labels in ["format=\"prometheus\",code=\"421\"", "format=\"json\",code=\"400\""] {
        let sample = format!("parsec_telemetry_scrapes_total{{{labels}}} 1\n");
        assert!(page.contains(&sample), "{sample} in {page}");
    }
}

#[test]
fn requests_from_another_accept_loop_are_not_checked() {
    let server = Server::builder(Aggregator::new()).build();
    let hosts: [&[&str]; 4] = [&[], &["evil.example"], &["a", "b"], &["user@a"]];
    for hosts in hosts {
        let mut request = Request::get(JSON);
        for host in hosts {
            request = request.header("host", *host);
        }
        let response = server.handle(&request.body(()).expect("a valid request"));
        assert_eq!(response.status(), StatusCode::OK, "{hosts:?}");
    }
}

#[test]
fn long_foreign_host_is_shortened_in_the_response() {
    let server = start(|server| server);
    let mut client = Client::connect(server.address);
    client.send(&get(JSON, &"x".repeat(10_000)));
    let reply = client.read_reply();
    assert_eq!(reply.status, 421);
    assert!(reply.body.len() < 1000, "{} bytes", reply.body.len());
}

fn start(options: impl FnOnce(ServerBuilder) -> ServerBuilder) -> RunningServer {
    start_on(Ipv4Addr::LOCALHOST.into(), options)
}

fn start_on(ip: IpAddr, options: impl FnOnce(ServerBuilder) -> ServerBuilder) -> RunningServer {
    let server = options(Server::builder(Aggregator::new())).build();
    RunningServer::start(ip, |listener, shutdown| server.serve(listener, shutdown))
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

fn status(address: SocketAddr, request: &str) -> u16 {
    let mut client = Client::connect(address);
    client.send(request);
    client.read_head().status
}

/// An address of this machine that is not loopback. Connecting a UDP socket sends nothing.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
