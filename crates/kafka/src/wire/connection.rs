//! A connection to one broker: requests and answers in turn.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::buffer::{Input, Malformed, Output};
use super::codes::Code;
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
const ANSWER_MAX: usize = 64 << 20;
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
        self.stream.set_write_timeout(Some(left(deadline)))?;
        self.stream.write_all(&output.bytes)?;
        self.request = output.bytes;
        let length = self.read_answer(deadline)?;
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
    fn read_answer(&mut self, deadline: Instant) -> Result<usize> {
        let mut length = [0; 4];
        self.read_exact_until(&mut length, deadline)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| Malformed)?;
        if length > ANSWER_MAX {
            return Err(Malformed.into());
        }
        let mut answer = std::mem::take(&mut self.answer);
        if answer.len() < length {
            answer.resize(length, 0);
        }
        self.read_exact_until(&mut answer[..length], deadline)?;
        self.answer = answer;
        Ok(length)
    }

    /// A time-out of the socket alone would begin anew with every byte.
    fn read_exact_until(&mut self, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(left(deadline)))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time until `deadline`; never 0, which sockets take for endless.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
