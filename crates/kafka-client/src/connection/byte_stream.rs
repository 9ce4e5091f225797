//! The bytes under a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::deadline::{TimedSocket, TransferDeadline, left};
use super::tls::TlsStream;

/// A stream of bytes to a broker, both ways.
pub(crate) enum ByteStream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl ByteStream {
    pub(crate) fn write_all(
        &mut self,
        bytes: &[u8],
        deadline: &mut TransferDeadline,
    ) -> io::Result<()> {
        match self {
            Self::Plain(socket) => TimedSocket { socket, deadline }.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes, deadline),
        }
    }

    pub(crate) fn read_exact(
        &mut self,
        bytes: &mut [u8],
        deadline: &mut TransferDeadline,
    ) -> io::Result<()> {
        match self {
            Self::Plain(socket) => TimedSocket { socket, deadline }.read_exact(bytes),
            Self::Tls(stream) => stream.read_exact(bytes, deadline),
        }
    }
}

/// Connects to `address` (`host:port`) within `timeout`.
pub(crate) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let socket = connect_to_any(&addresses, deadline)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Each address has its share of the time that is left: the first one may be of a network that
/// cannot be reached from here, and say nothing.
fn connect_to_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for (remaining, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        match TcpStream::connect_timeout(address, left(deadline) / remaining) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent_address = silent.local_addr().expect("bound");
        // Nothing accepts: once its queue is full, a new connection hears nothing.
        let connect =
            || TcpStream::connect_timeout(&silent_address, Duration::from_millis(200)).ok();
        let _queue: Vec<_> = std::iter::from_fn(connect).take(10_000).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addresses = [silent_address, listener.local_addr().expect("bound")];
        let timeout = Duration::from_millis(1_200);
        let began = Instant::now();
        let stream = connect_to_any(&addresses, began + timeout).expect("connected");
        assert_eq!(stream.peer_addr().expect("connected"), addresses[1]);
        let took = began.elapsed();
        assert!(took >= timeout / 4, "the first one was silent: {took:?}");
        assert!(took < timeout * 3 / 4, "it got all the time: {took:?}");
    }
}
