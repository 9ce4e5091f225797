//! A connection to one broker: requests and answers in turn.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::buffer::{Input, Malformed, Output};
use super::codes::Code;
use super::patience::{Patience, left, read_exact, write_all};
use super::requests::{Features, sasl_authenticate, sasl_handshake};

/// Name and password, for SASL PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection failed. If a request was sent, whether it was done is not known.
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Asking again would bring the same.
    #[error(
        "an answer of {0} bytes, more than our client takes ({ANSWER_MAX}): no Kafka broker is at \
         this address, it wants another security.protocol, or a batch of records is this large"
    )]
    TooLarge(usize),
    #[error(transparent)]
    Refused(#[from] Code),
}

pub(crate) type Result<T> = std::result::Result<T, WireError>;

/// A connection. After an error of the connection it must be dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    client: String,
    correlation: i32,
    /// The request that is written.
    request: Vec<u8>,
    /// The answer that is read, and what is left of longer ones behind it.
    answer: Vec<u8>,
    features: Features,
}

/// A request of one kind.
pub(super) struct Kind {
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) header: Header,
}

/// Which headers a request and its answer have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Both with optional fields.
    Flexible,
    /// Those of ApiVersions, whose answer must be understood by everybody.
    Versions,
    /// Both without.
    Old,
}

/// More than any answer here can have.
pub(crate) const ANSWER_MAX: usize = 64 << 20;
/// Buffers that have become larger than this are not kept. Answers with records are large, one
/// after the other.
const KEPT: usize = 8 << 20;

impl Connection {
    /// Connects to `address` (`host:port`), and is admitted, within `timeout`.
    pub(crate) fn open(
        address: &str,
        client: &str,
        login: Option<&Login>,
        timeout: Duration,
    ) -> Result<Self> {
        let stream = connect(address, timeout)?;
        stream.set_nodelay(true)?;
        let (client, features) = (client.to_owned(), Features::default());
        let (request, answer) = (Vec::new(), Vec::new());
        let mut new = Self { stream, client, correlation: 0, request, answer, features };
        let deadline = Instant::now() + timeout;
        new.features = Features::ask(&mut new, deadline)?;
        if let Some(login) = login {
            sasl_handshake(&mut new, deadline)?;
            sasl_authenticate(&mut new, login, deadline)?;
        }
        Ok(new)
    }

    /// What the cluster says that it can do.
    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// Sends a request that `write` writes, and reads its answer by `read`.
    pub(super) fn call<T>(
        &mut self,
        kind: &Kind,
        deadline: Instant,
        write: impl FnOnce(&mut Output),
        read: impl FnOnce(&mut Input<'_>) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut output = Output { bytes: std::mem::take(&mut self.request) };
        output.bytes.clear();
        output.i32(0);
        self.write_header(kind, &mut output);
        write(&mut output);
        let length = (output.bytes.len() - 4) as i32;
        output.bytes[..4].copy_from_slice(&length.to_be_bytes());
        let mut patience = Patience::until(deadline);
        write_all(&mut self.stream, &output.bytes, &mut patience)?;
        self.request = output.bytes;
        let length = self.read_answer(&mut patience)?;
        let mut input = Input::new(&self.answer[..length]);
        if input.i32()? != self.correlation {
            return Err(Malformed.into());
        }
        if kind.header == Header::Flexible {
            input.tags()?;
        }
        let answer = read(&mut input)?;
        for buffer in [&mut self.request, &mut self.answer] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        Ok(answer)
    }

    fn write_header(&self, kind: &Kind, output: &mut Output) {
        output.i16(kind.api);
        output.i16(kind.version);
        output.i32(self.correlation);
        // In all headers the client's name is of the older kind.
        output.old_text(&self.client);
        if kind.header != Header::Old {
            output.no_tags();
        }
    }

    /// Reads an answer, and says how long it is.
    fn read_answer(&mut self, patience: &mut Patience) -> Result<usize> {
        let mut length = [0; 4];
        read_exact(&mut self.stream, &mut length, patience)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| Malformed)?;
        if length > ANSWER_MAX {
            return Err(WireError::TooLarge(length));
        }
        let mut answer = std::mem::take(&mut self.answer);
        if answer.len() < length {
            answer.resize(length, 0);
        }
        read_exact(&mut self.stream, &mut answer[..length], patience)?;
        self.answer = answer;
        Ok(length)
    }
}

impl WireError {
    /// Whether asking again, perhaps somebody else, may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Malformed(_) => true,
            Self::Refused(code) => code.is_passing(),
            Self::TooLarge(_) => false,
        }
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    connect_to_any(&addresses, deadline)
}

/// Each address has its share of the time that is left: the first one may be of a network that is
/// not reached from here, and say nothing.
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
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent_address = silent.local_addr().expect("bound");
        // Nobody accepts: once its queue is full, who connects hears nothing.
        let connect =
            || TcpStream::connect_timeout(&silent_address, Duration::from_millis(200)).ok();
        let _queue: Vec<_> = std::iter::from_fn(connect).take(10_000).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addresses = [silent_address, listener.local_addr().expect("bound")];
        let (began, timeout) = (Instant::now(), Duration::from_millis(1_200));
        let stream = connect_to_any(&addresses, began + timeout).expect("connected");
        assert_eq!(stream.peer_addr().expect("connected"), addresses[1]);
        let took = began.elapsed();
        assert!(took >= timeout / 4, "the first one was silent: {took:?}");
        assert!(took < timeout * 3 / 4, "it got all the time: {took:?}");
    }

    #[test]
    fn an_answer_that_is_too_large_is_an_error_that_does_not_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        thread::spawn(move || {
            let (mut other, _) = listener.accept().expect("connected");
            other.read_exact(&mut [0; 4]).expect("a request");
            // As a broker with TLS answers to one who speaks without.
            other.write_all(&[0x15, 3, 3, 0, 2, 2, 0x46]).expect("written");
            thread::sleep(Duration::from_secs(1));
        });
        let opened = Connection::open(&address, "test", None, Duration::from_secs(5));
        let error = opened.err().expect("refused");
        assert!(matches!(error, WireError::TooLarge(_)) && !error.is_passing(), "{error}");
        assert!(error.to_string().contains("(67108864)"), "{error}");
    }
}
