//! TCP connections whose every read and write has a timeout.

use std::io;
use std::net::{SocketAddr, TcpStream};

use super::poll::DEADLINE;

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).expect("the server accepts the connection")
}

pub(crate) fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
