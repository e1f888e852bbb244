//! An HTTP/1.1 client that shows every byte of a response.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::socket::connect;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) version: String,
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = connect(address);
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).expect("the server reads");
    }

    pub(crate) fn send_get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send_get(path);
        self.read_reply()
    }

    /// Reads a head and a body of `content-length` bytes.
    pub(crate) fn read_reply(&mut self) -> Reply {
        let mut reply = self.read_head();
        let length = reply.headers["content-length"].parse().expect("a length");
        reply.body.resize(length, 0);
        self.reader.read_exact(&mut reply.body).expect("a body");
        reply
    }

    pub(crate) fn read_head(&mut self) -> Reply {
        let status_line = self.read_line();
        let mut parts = status_line.splitn(3, ' ');
        let version = parts.next().expect("a version").to_owned();
        let status = parts.next().expect("a status").parse().expect("a number");
        let mut headers = BTreeMap::new();
        loop {
            let line = self.read_line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            let name = name.to_ascii_lowercase();
            // A 401 offers two schemes.
            let may_repeat = name == "www-authenticate";
            let previous = headers.insert(name, value.to_owned());
            assert!(previous.is_none() || may_repeat, "duplicate header: {line}");
        }
        Reply { version, status, headers, body: Vec::new() }
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line.strip_suffix("\r\n").expect("a complete line").to_owned()
    }

    /// Waits until the server closes the connection, and asserts that it sends nothing before.
    pub(crate) fn expect_close(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest)),
            // Closing a socket with unread bytes resets the connection.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}
