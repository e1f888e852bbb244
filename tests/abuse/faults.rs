//! The ill clients once more, each kept up until it is told to end.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::clients::out_of_bounds;
use crate::wire::{Kept, try_connect};
use crate::{GET, GET_HEALTH, GET_TEXT};

/// Each waits a little between two things that it does: it is to be a burden on the server, not on
/// the machine that the one who looks on needs, too.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    keep_up: fn(&Target<'_>),
}

pub(crate) const FAULTS: [Fault; 12] = [
    fault("2,000 idle connections", idle),
    fault("a byte now and then, on 50 connections", trickle),
    fault("answers not read, on 10 connections", |at| at.unread(0)),
    fault("answers read slowly, on 10 connections", |at| {
        at.unread(2048);
    }),
    fault("gone in the middle of the answer", go),
    fault("a half closed", half_close),
    fault("what is no request, or too much of one", no_requests),
    fault("random bytes", noise),
    fault("bodies without end", endless_bodies),
    fault("1,000 pipelined requests", pipeline),
    fault("connections that come and go", come_and_go),
    fault("every format as fast as it comes", scrape),
];

const fn fault(name: &'static str, keep_up: fn(&Target<'_>)) -> Fault {
    Fault { name, keep_up }
}

impl Fault {
    pub(crate) fn until(&self, ended: &AtomicBool, at: SocketAddr) {
        (self.keep_up)(&Target { at, ended });
    }
}

struct Target<'a> {
    at: SocketAddr,
    ended: &'a AtomicBool,
}

impl Target<'_> {
    /// One after the other, however each ends.
    fn again_and_again(&self, mut once: impl FnMut(SocketAddr) -> io::Result<()>) {
        while !self.is_over() {
            // What comes of it is the server's business.
            let _ = once(self.at);
            thread::sleep(PAUSE);
        }
    }

    /// So many at once, each replaced when it has ended.
    fn many<T>(
        &self,
        count: usize,
        begin: impl Fn(SocketAddr) -> io::Result<T>,
        mut go_on: impl FnMut(&mut T) -> io::Result<()>,
    ) {
        let mut all: Vec<Option<T>> = (0..count).map(|_| None).collect();
        while !self.is_over() {
            for one in &mut all {
                *one = match one.take() {
                    None => begin(self.at).ok(),
                    Some(mut one) => go_on(&mut one).is_ok().then_some(one),
                };
            }
            thread::sleep(10 * PAUSE);
        }
    }

    /// Asks for many pages, and takes so many bytes of them now and then.
    fn unread(&self, bytes: usize) {
        let begin = |at| {
            let mut client = try_connect(at)?;
            client.set_nonblocking(true)?;
            client.write_all(GET.repeat(80).as_bytes())?;
            Ok(client)
        };
        self.many(10, begin, |client| {
            let mut taken = vec![0; bytes];
            would_wait(client.read(&mut taken))?;
            // Whether anybody is there still.
            would_wait(client.write(b"x"))
        });
    }

    fn is_over(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

fn would_wait(done: io::Result<usize>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

fn idle(target: &Target<'_>) {
    let mut all: Vec<TcpStream> = Vec::new();
    target.again_and_again(|at| {
        // As fast as the server takes them, and then slower: what overflows the system's queue is
        // held up by the system, and all others with it.
        let more = if all.len() < 2_000 { 6 } else { 1 };
        for _ in 0..more {
            all.push(try_connect(at)?);
        }
        if all.len() > 2_000 {
            all.remove(0);
        }
        Ok(())
    });
}

fn trickle(target: &Target<'_>) {
    let begin = |at| Ok((try_connect(at)?, GET.bytes().cycle()));
    target.many(50, begin, |(client, bytes)| {
        let byte = bytes.next().expect("for ever");
        client.write_all(&[byte])
    });
}

fn go(target: &Target<'_>) {
    target.again_and_again(|at| {
        let mut client = try_connect(at)?;
        client.write_all(GET.as_bytes())?;
        // Unread bytes make this a reset.
        client.read_exact(&mut [0; 100])
    });
}

fn half_close(target: &Target<'_>) {
    target.again_and_again(|at| {
        let mut client = try_connect(at)?;
        client.write_all(GET_TEXT.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        client.read_to_end(&mut Vec::new()).map(drop)
    });
}

fn no_requests(target: &Target<'_>) {
    let cases = out_of_bounds();
    let mut cases = cases.iter().cycle();
    target.again_and_again(|at| {
        let (_, request, _) = cases.next().expect("for ever");
        let mut client = try_connect(at)?;
        client.write_all(request.as_bytes())?;
        client.read_exact(&mut [0; 10])
    });
}

fn noise(target: &Target<'_>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    target.again_and_again(|at| {
        let bytes: Vec<u8> = (0..512)
            .map(|_| {
                // Marsaglia's xorshift.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        let mut client = try_connect(at)?;
        client.write_all(&bytes)?;
        client.read_exact(&mut [0; 10])
    });
}

fn endless_bodies(target: &Target<'_>) {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let begin = |at| {
        let mut client = try_connect(at)?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")?;
        Ok(client)
    };
    target.many(20, begin, |client| client.write_all(chunk.as_bytes()));
}

fn pipeline(target: &Target<'_>) {
    let last = GET_HEALTH.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let all = GET_HEALTH.repeat(999) + &last;
    target.again_and_again(|at| {
        let mut client = try_connect(at)?;
        client.write_all(all.as_bytes())?;
        client.read_to_end(&mut Vec::new()).map(drop)
    });
}

fn come_and_go(target: &Target<'_>) {
    target.again_and_again(|at| try_connect(at).map(drop));
}

fn scrape(target: &Target<'_>) {
    let openmetrics = GET_TEXT.replace(
        "host: x\r\n",
        "host: x\r\naccept: application/openmetrics-text\r\n",
    );
    target.again_and_again(|at| {
        let mut scraper = Kept::of(try_connect(at)?);
        while !target.is_over() {
            for request in [GET, GET_TEXT, &openmetrics, GET_HEALTH] {
                scraper.ask(request)?;
            }
        }
        Ok(())
    });
}
