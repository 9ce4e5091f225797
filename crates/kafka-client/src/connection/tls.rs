//! TLS under a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::deadline::{TimedSocket, TransferDeadline};
use super::{RequestError, Result};

/// A stream that TLS protects.
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
    /// What the network has brought: one call of the system for several records of TLS.
    ciphertext: Vec<u8>,
    /// How much of it there is.
    received: usize,
    /// How much of that the session has read.
    taken: usize,
}

/// A record of TLS has 16 KiB.
const CIPHERTEXT: usize = 64 << 10;

impl TlsStream {
    /// Performs the handshake with `host`, whose certificate must be for that name or address.
    pub(crate) fn open(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        host: &str,
        deadline: &mut TransferDeadline,
    ) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned());
        let name =
            name.map_err(|_| RequestError::security("TLS", &format!("{host} is no host name")))?;
        let session = ClientConnection::new(config, name)
            .map_err(|error| RequestError::security("TLS", &error.to_string()))?;
        let ciphertext = vec![0; CIPHERTEXT];
        let mut new = Self { socket, session, ciphertext, received: 0, taken: 0 };
        match new.handshake(deadline) {
            Ok(()) => Ok(new),
            Err(error) => Err(explain(error, host)),
        }
    }

    fn handshake(&mut self, deadline: &mut TransferDeadline) -> io::Result<()> {
        while self.session.is_handshaking() {
            self.send(deadline)?;
            if self.session.is_handshaking()
                && let Err(error) = self.receive(deadline)
            {
                // The alert that says why.
                let _ = self.send(deadline);
                return Err(error);
            }
        }
        self.send(deadline)
    }

    pub(crate) fn write_all(
        &mut self,
        mut bytes: &[u8],
        deadline: &mut TransferDeadline,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            // Takes as much as its buffer holds.
            let taken = self.session.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.send(deadline)?;
        }
        Ok(())
    }

    pub(crate) fn read_exact(
        &mut self,
        mut bytes: &mut [u8],
        deadline: &mut TransferDeadline,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.session.reader().read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.receive(deadline)?;
                    // A new key has to be answered.
                    self.send(deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&mut self, deadline: &mut TransferDeadline) -> io::Result<()> {
        let mut timed = TimedSocket { socket: &mut self.socket, deadline };
        while self.session.wants_write() {
            if self.session.write_tls(&mut timed)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Decrypts what has come, and waits for it if there is nothing.
    fn receive(&mut self, deadline: &mut TransferDeadline) -> io::Result<()> {
        if self.taken == self.received {
            let mut timed = TimedSocket { socket: &mut self.socket, deadline };
            self.received = timed.read(&mut self.ciphertext)?;
            self.taken = 0;
            if self.received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut rest = &self.ciphertext[self.taken..self.received];
        self.session.read_tls(&mut rest)?;
        self.taken = self.received - rest.len();
        let processed = self.session.process_new_packets();
        processed.map(drop).map_err(io::Error::other)
    }
}

/// Why a handshake failed, and what to do.
pub(super) fn explain(error: io::Error, host: &str) -> RequestError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let why = match cause {
        Some(rustls::Error::InvalidCertificate(why)) => of_certificate(why, host),
        Some(rustls::Error::InvalidMessage(_)) => {
            "the broker's listener does not speak TLS: security.protocol is PLAINTEXT or \
             SASL_PLAINTEXT there"
                .to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!(
            "the broker ends the handshake with {alert:?}: it may want a certificate of this \
             client's (ssl.certificate.location, ssl.key.location) that it trusts"
        ),
        Some(other) => other.to_string(),
        None if is_cut(&error) => {
            return RequestError::HandshakeCut(format!(
                "{host} closed the connection during the TLS handshake: its listener may be a \
                 plain one (security.protocol PLAINTEXT or SASL_PLAINTEXT), or no broker is ready"
            ));
        }
        None => return error.into(),
    };
    RequestError::security("TLS", &why)
}

/// Whether TLS has failed, and not the network.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

/// Whether the other end has closed the connection.
pub(super) fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

fn of_certificate(why: &CertificateError, host: &str) -> String {
    let what = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        // A signature does not fit if another authority has the name of the trusted one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is of an authority that is not trusted: ssl.ca.location has to name the cluster's CA"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not for this host name: its subjectAltName has to list it"
        }
        CertificateError::Revoked => "was revoked",
        _ => "cannot be used",
    };
    format!("the certificate of the broker at {host} {what} ({why})")
}
