//! The cost of a request, beside bare hyper with as long a body.
//!
//! Each server runs in a process of its own. Callgrind counts its user instructions in two runs, one with twice as many
//! requests as the other: the difference cancels the start of the process.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::samples::Samples;
use crate::servers::{BARE, COALESCED, SERVERS, Server};
use crate::{Effort, Result};

/// What a request costs a server, and bare hyper with a body of the same length.
pub(crate) struct Cost {
    pub(crate) server: &'static str,
    pub(crate) is_coalesced: bool,
    pub(crate) body_bytes: usize,
    pub(crate) instructions: f64,
    pub(crate) bare_instructions: f64,
    /// Microseconds from the request to the whole response, on one connection.
    pub(crate) micros: Samples,
}

impl Cost {
    pub(crate) fn to_bare(&self) -> f64 {
        self.instructions / self.bare_instructions
    }
}

pub(crate) fn measure(effort: &Effort) -> Result<Vec<Cost>> {
    let costs = SERVERS.iter().map(|server| {
        eprintln!("serving: {}", server.name);
        let process = Process::start(server, 0, None)?;
        let (_, body_bytes) = process.request(effort.requests / 4)?;
        let (micros, _) = process.request(effort.requests)?;
        process.end()?;
        Ok(Cost {
            server: server.name,
            is_coalesced: COALESCED.contains(&server.key),
            body_bytes,
            instructions: instructions(effort, server, 0)?,
            bare_instructions: instructions(effort, &BARE, body_bytes)?,
            micros,
        })
    });
    costs.collect()
}

fn instructions(effort: &Effort, server: &Server, body_bytes: usize) -> Result<f64> {
    let count = |requests| {
        let process = Process::start(server, body_bytes, Some("valgrind"))?;
        process.request(requests)?;
        let log = process.end()?;
        let count = log
            .lines()
            .find_map(|line| line.split_once("Collected :"))
            .ok_or_else(|| format!("callgrind printed no count: {log}"))?;
        Ok::<f64, Box<dyn std::error::Error>>(count.1.trim().parse()?)
    };
    let requests = effort.requests;
    Ok((count(2 * requests)? - count(requests)?) / requests as f64)
}

/// A server in a child process. It ends with its standard input.
struct Process {
    child: Child,
    port: u16,
    path: &'static str,
}

impl Process {
    fn start(server: &Server, body_bytes: usize, valgrind: Option<&str>) -> Result<Self> {
        let program = env::current_exe()?;
        let mut command = match valgrind {
            Some(valgrind) => {
                let mut command = Command::new(valgrind);
                command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .args(["serve", server.key, &body_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let mut port = String::new();
        let stdout = child.stdout.take().ok_or("the output is piped")?;
        BufReader::new(stdout).read_line(&mut port)?;
        let path = server.path;
        match port.trim().parse() {
            Ok(port) => Ok(Self { child, port, path }),
            Err(_) => Err(format!("{} did not start: {}", server.name, output(child)?).into()),
        }
    }

    /// Sends requests one after the other. Returns the time of each, and the length of the last body.
    fn request(&self, requests: usize) -> Result<(Samples, usize)> {
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.path);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; 1 << 16];
        let (mut micros, mut body_bytes) = (Vec::with_capacity(requests), 0);
        for _ in 0..requests {
            let start = Instant::now();
            stream.write_all(request.as_bytes())?;
            let mut received = 0;
            body_bytes = loop {
                match stream.read(&mut buffer[received..])? {
                    0 => return Err("the server closed the connection".into()),
                    read => received += read,
                }
                if let Some(response) = parse(&buffer[..received])?
                    && received >= response.head + response.body
                {
                    break response.body;
                }
            };
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok((Samples(micros), body_bytes))
    }

    /// Returns what the process has printed as errors.
    fn end(self) -> Result<String> {
        output(self.child)
    }
}

fn output(mut child: Child) -> Result<String> {
    drop(child.stdin.take());
    let mut log = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut log)?;
    }
    let status = child.wait()?;
    if status.success() { Ok(log) } else { Err(format!("the server ended with {status}: {log}").into()) }
}

/// The lengths of the parts of a response.
struct Lengths {
    head: usize,
    body: usize,
}

/// Returns `None` while the head is incomplete. Fails unless it is a 200 with a `Content-Length`.
fn parse(received: &[u8]) -> Result<Option<Lengths>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = received.windows(END.len()).position(|four| four == END) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&received[..end]);
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("unexpected response: {head}").into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .ok_or_else(|| format!("no Content-Length: {head}"))?;
    Ok(Some(Lengths { head: end + END.len(), body: length.1.trim().parse()? }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn response_is_as_long_as_its_head_declares() {
        let received = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        let lengths = parse(received).expect("valid").expect("a whole head");
        assert_eq!((lengths.head, lengths.body), (received.len() - 3, 5));
        assert!(matches!(parse(&received[..20]), Ok(None)));
        assert!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }
}
