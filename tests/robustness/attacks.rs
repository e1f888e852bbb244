//! Attacks that go on until they are stopped.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::malformed;
use crate::support::socket::try_connect;
use crate::wire::KeepAlive;
use crate::{GET_HEALTH, GET_JSON, GET_TEXT};

/// Between two steps of an attack, so that it does not take the processor from the observer.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    run: fn(&Target<'_>),
}

pub(crate) const ATTACKS: [Attack; 12] = [
    attack("2,000 idle connections", hold_idle),
    attack("50 connections that send single bytes", send_bytes),
    attack("10 connections that do not read", |target| target.read(0)),
    attack("10 connections that read slowly", |target| {
        target.read(2048);
    }),
    attack("disconnecting during the response", disconnect),
    attack("half-closed connections", half_close),
    attack("malformed requests", send_malformed),
    attack("random bytes", send_random),
    attack("endless bodies", send_endless_bodies),
    attack("1,000 pipelined requests", pipeline),
    attack("connections without a request", connect_only),
    attack("every format without a pause", scrape),
];

const fn attack(name: &'static str, run: fn(&Target<'_>)) -> Attack {
    Attack { name, run }
}

impl Attack {
    pub(crate) fn run_until(&self, stop: &AtomicBool, address: SocketAddr) {
        (self.run)(&Target { address, stop });
    }
}

struct Target<'a> {
    address: SocketAddr,
    stop: &'a AtomicBool,
}

impl Target<'_> {
    fn repeat(&self, mut once: impl FnMut(SocketAddr) -> io::Result<()>) {
        while !self.is_stopped() {
            // The server may refuse or close any connection.
            let _ = once(self.address);
            thread::sleep(PAUSE);
        }
    }

    /// Keeps `count` connections open, and replaces those that fail.
    fn hold<T>(
        &self,
        count: usize,
        open: impl Fn(SocketAddr) -> io::Result<T>,
        mut step: impl FnMut(&mut T) -> io::Result<()>,
    ) {
        let mut connections: Vec<Option<T>> = (0..count).map(|_| None).collect();
        while !self.is_stopped() {
            for connection in &mut connections {
                *connection = match connection.take() {
                    None => open(self.address).ok(),
                    Some(mut open) => step(&mut open).is_ok().then_some(open),
                };
            }
            thread::sleep(10 * PAUSE);
        }
    }

    /// Requests 80 pages per connection, and reads at most this many bytes in each step.
    fn read(&self, bytes: usize) {
        let open = |address| {
            let mut client = try_connect(address)?;
            client.set_nonblocking(true)?;
            client.write_all(GET_JSON.repeat(80).as_bytes())?;
            Ok(client)
        };
        self.hold(10, open, |client| {
            let mut buffer = vec![0; bytes];
            ignore_would_block(client.read(&mut buffer))?;
            // Fails once the server has closed the connection.
            ignore_would_block(client.write(b"x"))
        });
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

fn ignore_would_block(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

fn hold_idle(target: &Target<'_>) {
    let mut connections: Vec<TcpStream> = Vec::new();
    target.repeat(|address| {
        // A larger burst overflows the listen backlog, which delays every client.
        let count = if connections.len() < 2_000 { 6 } else { 1 };
        for _ in 0..count {
            connections.push(try_connect(address)?);
        }
        if connections.len() > 2_000 {
            connections.remove(0);
        }
        Ok(())
    });
}

fn send_bytes(target: &Target<'_>) {
    let open = |address| Ok((try_connect(address)?, GET_JSON.bytes().cycle()));
    target.hold(50, open, |(client, bytes)| {
        let byte = bytes.next().expect("a cycle is endless");
        client.write_all(&[byte])
    });
}

fn disconnect(target: &Target<'_>) {
    target.repeat(|address| {
        let mut client = try_connect(address)?;
        client.write_all(GET_JSON.as_bytes())?;
        // The unread bytes reset the connection.
        client.read_exact(&mut [0; 100])
    });
}

fn half_close(target: &Target<'_>) {
    target.repeat(|address| {
        let mut client = try_connect(address)?;
        client.write_all(GET_TEXT.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        client.read_to_end(&mut Vec::new()).map(drop)
    });
}

fn send_malformed(target: &Target<'_>) {
    let cases = malformed::cases();
    let mut cases = cases.iter().cycle();
    target.repeat(|address| {
        let (_, request, _) = cases.next().expect("a cycle is endless");
        let mut client = try_connect(address)?;
        client.write_all(request.as_bytes())?;
        client.read_exact(&mut [0; 10])
    });
}

fn send_random(target: &Target<'_>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    target.repeat(|address| {
        let bytes: Vec<u8> = (0..512)
            .map(|_| {
                // Marsaglia's xorshift generator.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        let mut client = try_connect(address)?;
        client.write_all(&bytes)?;
        client.read_exact(&mut [0; 10])
    });
}

fn send_endless_bodies(target: &Target<'_>) {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let open = |address| {
        let mut client = try_connect(address)?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")?;
        Ok(client)
    };
    target.hold(20, open, |client| client.write_all(chunk.as_bytes()));
}

fn pipeline(target: &Target<'_>) {
    let requests = malformed::pipelined(1000);
    target.repeat(|address| {
        let mut client = try_connect(address)?;
        client.write_all(requests.as_bytes())?;
        client.read_to_end(&mut Vec::new()).map(drop)
    });
}

fn connect_only(target: &Target<'_>) {
    target.repeat(|address| try_connect(address).map(drop));
}

fn scrape(target: &Target<'_>) {
    let openmetrics =
        GET_TEXT.replace("host: localhost\r\n", "host: localhost\r\naccept: application/openmetrics-text\r\n");
    target.repeat(|address| {
        let mut scraper = KeepAlive::new(try_connect(address)?);
        while !target.is_stopped() {
            for request in [GET_JSON, GET_TEXT, &openmetrics, GET_HEALTH] {
                scraper.request(request)?;
            }
        }
        Ok(())
    });
}
