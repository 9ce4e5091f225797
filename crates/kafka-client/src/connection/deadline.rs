//! How long a request and its response may take: as long as bytes flow.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A deadline that moves on while bytes flow. Over a slow link a large response takes longer than
/// one may wait for a broker that says nothing, and repeating the request would start the transfer
/// from its beginning.
pub(crate) struct TransferDeadline {
    /// How long there may be no progress.
    step: Duration,
    deadline: Instant,
    /// The end in any case: a peer that sends a byte at a time is of no use.
    end: Instant,
}

/// How long a whole transfer may take if it never stops.
const TRANSFER_MAX: Duration = Duration::from_secs(60);

impl TransferDeadline {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { step: left(deadline), deadline, end: deadline.max(Instant::now() + TRANSFER_MAX) }
    }

    fn progress(&mut self) {
        self.deadline = self.deadline.max(Instant::now() + self.step).min(self.end);
    }

    /// What is left. The socket's time-out alone would start again with every byte.
    fn left(&self) -> io::Result<Duration> {
        let is_over = Instant::now() >= self.deadline;
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left(self.deadline)) }
    }
}

/// A socket whose reads and writes end at a deadline, and count as progress.
///
/// TLS stands above it, so progress is counted in the bytes that the network moves, not in those
/// that a record of TLS yields.
pub(crate) struct TimedSocket<'a> {
    pub(crate) socket: &'a mut TcpStream,
    pub(crate) deadline: &'a mut TransferDeadline,
}

impl Read for TimedSocket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.set_read_timeout(Some(self.deadline.left()?))?;
            match self.socket.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                moved => return self.moved(moved),
            }
        }
    }
}

impl Write for TimedSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.socket.set_write_timeout(Some(self.deadline.left()?))?;
            match self.socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                moved => return self.moved(moved),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TimedSocket<'_> {
    fn moved(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(count) => {
                if count > 0 {
                    self.deadline.progress();
                }
                Ok(count)
            }
            // How a time-out of the socket is reported.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        }
    }
}

/// The time until `deadline`; never 0, which sockets take for endless.
pub(crate) fn left(deadline: Instant) -> Duration {
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
        let mut socket = stream(|mut other| {
            for _ in 0..8 {
                thread::sleep(STEP / 4);
                other.write_all(b"x").expect("written");
            }
            thread::sleep(STEP * 4);
        });
        let mut deadline = TransferDeadline::until(Instant::now() + STEP);
        let mut timed = TimedSocket { socket: &mut socket, deadline: &mut deadline };
        timed.read_exact(&mut [0; 8]).expect("twice as long as a step");
        let began = Instant::now();
        let error = timed.read_exact(&mut [0; 1]).expect_err("stopped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < STEP * 2);
    }

    #[test]
    fn what_is_taken_slowly_is_taken() {
        const SIZE: usize = 32 << 20;
        let mut socket = stream(|mut other| {
            let mut part = vec![0; SIZE / 10];
            for _ in 0..9 {
                thread::sleep(STEP / 4);
                other.read_exact(&mut part).expect("read");
            }
            thread::sleep(STEP * 40);
        });
        let mut deadline = TransferDeadline::until(Instant::now() + STEP);
        let mut timed = TimedSocket { socket: &mut socket, deadline: &mut deadline };
        timed.write_all(&vec![0; SIZE * 9 / 10]).expect("taken");
        // How much the system takes without a reader differs between machines.
        let mut untaken = (0..64).map(|_| timed.write_all(&vec![0; SIZE]));
        let error = untaken.find_map(Result::err).expect("stopped");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn it_ends_even_if_bytes_flow() {
        let mut socket = stream(|mut other| while other.write_all(b"x").is_ok() {});
        let mut deadline = TransferDeadline::until(Instant::now() + STEP);
        deadline.end = Instant::now() + STEP * 2;
        let mut timed = TimedSocket { socket: &mut socket, deadline: &mut deadline };
        let mut all = vec![0; 1 << 30];
        let error = timed.read_exact(&mut all).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
