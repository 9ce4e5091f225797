//! How long a request and its answer may take: as long as bytes flow.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Moves its deadline on while bytes flow: over a slow link a large answer takes longer than one
/// that does not come may be waited for, and asking again would only begin it anew.
pub(super) struct Patience {
    /// Without progress.
    step: Duration,
    deadline: Instant,
    /// With progress; a peer that sends a byte at a time is of no use.
    end: Instant,
}

/// A whole transfer may take so long if it never stops.
const TRANSFER_MAX: Duration = Duration::from_secs(60);

impl Patience {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { step: left(deadline), deadline, end: deadline.max(Instant::now() + TRANSFER_MAX) }
    }

    fn progress(&mut self) {
        self.deadline = self.deadline.max(Instant::now() + self.step).min(self.end);
    }

    /// What is left. A time-out of the socket alone would begin anew with every byte.
    fn left(&self) -> io::Result<Duration> {
        let is_over = Instant::now() >= self.deadline;
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left(self.deadline)) }
    }
}

pub(super) fn write_all(
    stream: &mut TcpStream,
    mut bytes: &[u8],
    patience: &mut Patience,
) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(patience.left()?))?;
        let written = moved(stream.write(bytes), patience)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

pub(super) fn read_exact(
    stream: &mut TcpStream,
    mut bytes: &mut [u8],
    patience: &mut Patience,
) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_read_timeout(Some(patience.left()?))?;
        let read = moved(stream.read(bytes), patience)?;
        bytes = &mut bytes[read..];
    }
    Ok(())
}

/// How many bytes were moved; 0 if it is to be tried again.
fn moved(result: io::Result<usize>, patience: &mut Patience) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            patience.progress();
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}

/// The time until `deadline`; never 0, which sockets take for endless.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const STEP: Duration = Duration::from_millis(400);

    /// A stream, with what happens at its other end.
    fn stream(other_end: impl FnOnce(TcpStream) + Send + 'static) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || other_end(listener.accept().expect("connected").0));
        TcpStream::connect(address).expect("connected")
    }

    #[test]
    fn what_comes_slowly_comes_and_what_stops_does_not() {
        let mut stream = stream(|mut other| {
            for _ in 0..8 {
                thread::sleep(STEP / 4);
                other.write_all(b"x").expect("written");
            }
            thread::sleep(STEP * 4);
        });
        let mut patience = Patience::until(Instant::now() + STEP);
        read_exact(&mut stream, &mut [0; 8], &mut patience).expect("twice as long as a step");
        let began = Instant::now();
        let error = read_exact(&mut stream, &mut [0; 1], &mut patience).expect_err("stopped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < STEP * 2);
    }

    #[test]
    fn what_is_taken_slowly_is_taken() {
        const SIZE: usize = 32 << 20;
        let mut stream = stream(|mut other| {
            let mut part = vec![0; SIZE / 10];
            for _ in 0..9 {
                thread::sleep(STEP / 4);
                other.read_exact(&mut part).expect("read");
            }
            thread::sleep(STEP * 40);
        });
        let mut patience = Patience::until(Instant::now() + STEP);
        write_all(&mut stream, &vec![0; SIZE * 9 / 10], &mut patience).expect("taken");
        // How much the system takes without a reader differs between machines.
        let mut untaken = (0..64).map(|_| write_all(&mut stream, &vec![0; SIZE], &mut patience));
        let error = untaken.find_map(Result::err).expect("stopped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn it_ends_even_if_bytes_flow() {
        let mut stream = stream(|mut other| while other.write_all(b"x").is_ok() {});
        let mut patience = Patience::until(Instant::now() + STEP);
        patience.end = Instant::now() + STEP * 2;
        let mut all = vec![0; 1 << 30];
        let error = read_exact(&mut stream, &mut all, &mut patience).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
