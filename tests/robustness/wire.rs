//! Requests as bytes, and responses that may fail to arrive.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::socket::try_connect;

/// Sends a request on a connection of its own, and returns the response.
pub(crate) fn request(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = try_connect(address)?;
    let request = request.replacen("host: localhost\r\n", "host: localhost\r\nconnection: close\r\n", 1);
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    if response.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// Reads until the connection is closed or reset.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => response.extend(&buffer[..length]),
            // Closing a socket with unread bytes resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&response).into_owned()
}

/// A connection for many requests, as a scraper uses it.
pub(crate) struct KeepAlive(BufReader<TcpStream>);

impl KeepAlive {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Returns the status and the body.
    pub(crate) fn request(&mut self, request: &str) -> io::Result<(u16, String)> {
        let (status, body) = self.request_bytes(request)?;
        Ok((status, String::from_utf8(body).map_err(io::Error::other)?))
    }

    pub(crate) fn request_bytes(&mut self, request: &str) -> io::Result<(u16, Vec<u8>)> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let after = |prefix| head.split_once(prefix)?.1.split_whitespace().next();
        let status = after("HTTP/1.1 ").and_then(|status| status.parse().ok());
        let length = after("\r\ncontent-length: ").and_then(|length| length.parse().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::Error::other(head));
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }
}
