//! Raw sockets.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

pub(crate) fn connect(at: SocketAddr) -> TcpStream {
    try_connect(at).expect("a connection")
}

pub(crate) fn try_connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The answer to a request that is the last on its connection.
pub(crate) fn ask(at: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = try_connect(at)?;
    let request = request.replacen("host: x\r\n", "host: x\r\nconnection: close\r\n", 1);
    answer_to(&mut stream, &request)
}

pub(crate) fn answer_to(stream: &mut TcpStream, request: &str) -> io::Result<String> {
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
pub(crate) fn rest(stream: &mut TcpStream) -> String {
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

/// Asks until there is an answer.
pub(crate) fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited for in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A connection that is kept, as a scraper's is.
pub(crate) struct Kept(BufReader<TcpStream>);

impl Kept {
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The status and the body, as text.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<(u16, String)> {
        let (status, body) = self.ask_for_bytes(request)?;
        Ok((status, String::from_utf8(body).map_err(io::Error::other)?))
    }

    /// The status and the body.
    pub(crate) fn ask_for_bytes(&mut self, request: &str) -> io::Result<(u16, Vec<u8>)> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let behind = |name| head.split_once(name)?.1.split_whitespace().next();
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let (Some(status), Some(length)) = (
            number(behind("HTTP/1.1 ")),
            number(behind("\r\ncontent-length: ")),
        ) else {
            return Err(io::Error::other(head));
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((u16::try_from(status).map_err(io::Error::other)?, body))
    }
}
