//! A connection to one broker: requests and responses in turn.
//!
//! | file | what it is |
//! |---|---|
//! | `byte_stream.rs` | the bytes under a connection |
//! | `deadline.rs` | how long a request and its response may take |
//! | `error.rs` | why a request has no good response |
//! | `sasl/` | authentication |
//! | `tls.rs` | TLS under a connection |
//! | `tls_config.rs` | certificates and keys |

mod byte_stream;
mod deadline;
mod error;
mod sasl;
mod tls;
mod tls_config;

use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::{Api, Malformed, Read, RequestWriter, ResponseReader, VersionRange};
use crate::requests::{ApiVersions, BrokerFeatures};
use crate::settings::{ConnectionSettings, Credentials};

use byte_stream::{ByteStream, connect};
use deadline::TransferDeadline;
pub(crate) use error::RequestError;
pub(crate) use sasl::ScramHash;
use tls::{TlsStream, explain, is_cut, is_of_tls};
pub(crate) use tls_config::TlsConfigs;

pub(crate) type Result<T> = std::result::Result<T, RequestError>;

/// A connection. After an error it may only be used if the error
/// [says so](RequestError::keeps_connection).
pub(crate) struct Connection {
    stream: ByteStream,
    client_id: String,
    correlation_id: i32,
    /// The request that is written.
    request: Vec<u8>,
    /// The response that is read, followed by what is left of longer ones.
    response: Vec<u8>,
    versions: ApiVersions,
    /// A quota was exceeded: the broker takes no request before this.
    throttled_until: Option<Instant>,
    credentials: Option<Credentials>,
    /// The broker ends the session some time after this.
    authenticate_at: Option<Instant>,
    /// A request was answered that needs the right security settings.
    is_proven: bool,
}

/// More than any response here can have.
pub(crate) const RESPONSE_MAX: usize = 64 << 20;
/// Buffers that have become larger than this are not kept. Responses with records are large, one
/// after the other.
const KEPT: usize = 8 << 20;

impl Connection {
    /// Connects to `address` (`host:port`), and is authenticated, within `timeout`.
    pub(crate) fn open(
        address: &str,
        settings: &ConnectionSettings,
        tls: &TlsConfigs,
        timeout: Duration,
    ) -> Result<Self> {
        let deadline = Instant::now() + timeout;
        // First, because a file that cannot be read does not need a broker to be an error.
        let tls = settings.tls.as_ref().map(|settings| tls.current(settings)).transpose()?;
        let socket = connect(address, timeout)?;
        let stream = match tls {
            None => ByteStream::Plain(socket),
            Some(config) => {
                let mut transfer = TransferDeadline::until(deadline);
                let stream = TlsStream::open(socket, config, host_of(address), &mut transfer)?;
                ByteStream::Tls(Box::new(stream))
            }
        };
        let mut new = Self {
            stream,
            client_id: settings.client_id.clone(),
            correlation_id: 0,
            request: Vec::new(),
            response: Vec::new(),
            versions: ApiVersions::default(),
            throttled_until: None,
            credentials: settings.credentials.clone(),
            authenticate_at: None,
            is_proven: false,
        };
        let versions = ApiVersions::call(&mut new, deadline);
        new.versions = versions.map_err(|error| cut_at_first(error, address))?;
        new.authenticate(deadline)?;
        Ok(new)
    }

    /// What the cluster says that it can do.
    pub(crate) fn features(&self) -> BrokerFeatures {
        self.versions.features()
    }

    /// The latest version of a request that both sides can speak, within `versions`.
    pub(crate) fn version(&self, api: &Api, versions: VersionRange) -> Result<i16> {
        let brokers = self.versions.of(api.key);
        let ours = Api { versions, ..*api };
        let version = brokers.and_then(|brokers| ours.common_version(brokers));
        version.ok_or(RequestError::Unsupported { api: api.name, ours: versions, brokers })
    }

    /// As if the broker spoke no later version of a request.
    #[cfg(test)]
    pub(crate) fn limit_version(&mut self, key: i16, max: i16) {
        self.versions.limit(key, max);
    }

    /// Sends a request that `write` writes, and reads its response by `read`, in the latest version
    /// that both sides can speak.
    pub(crate) fn call<T>(
        &mut self,
        api: &Api,
        deadline: Instant,
        write: impl FnOnce(&mut RequestWriter),
        read: impl FnOnce(&mut ResponseReader<'_>) -> Read<T>,
    ) -> Result<T> {
        let version = self.version(api, api.versions)?;
        if self.authenticate_at.is_some_and(|at| Instant::now() >= at) {
            self.authenticate(deadline)?;
        }
        let result = self.call_in(api, version, deadline, write, read);
        match result {
            Err(RequestError::Connection(error)) if !self.is_proven && is_cut(&error) => {
                Err(RequestError::HandshakeCut(format!(
                    "the broker closed the connection at the first {} request ({error}): its \
                     listener may want SASL (security.protocol SASL_PLAINTEXT or SASL_SSL)",
                    api.name
                )))
            }
            result => {
                self.is_proven |= result.is_ok();
                result
            }
        }
    }

    /// As [`call`](Self::call), for the requests that authenticate this client.
    pub(crate) fn call_unauthenticated<T>(
        &mut self,
        api: &Api,
        deadline: Instant,
        write: impl FnOnce(&mut RequestWriter),
        read: impl FnOnce(&mut ResponseReader<'_>) -> Read<T>,
    ) -> Result<T> {
        let version = self.version(api, api.versions)?;
        self.call_in(api, version, deadline, write, read)
    }

    fn authenticate(&mut self, deadline: Instant) -> Result<()> {
        let Some(credentials) = self.credentials.take() else { return Ok(()) };
        self.authenticate_at = None;
        let authenticated = sasl::authenticate(self, &credentials, deadline);
        self.credentials = Some(credentials);
        self.authenticate_at = authenticated?;
        self.is_proven = true;
        Ok(())
    }

    /// As [`call`](Self::call), in this version.
    pub(crate) fn call_in<T>(
        &mut self,
        api: &Api,
        version: i16,
        deadline: Instant,
        write: impl FnOnce(&mut RequestWriter),
        read: impl FnOnce(&mut ResponseReader<'_>) -> Read<T>,
    ) -> Result<T> {
        self.wait_for_quota(deadline)?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut writer = RequestWriter {
            bytes: std::mem::take(&mut self.request),
            version,
            is_flexible: api.is_flexible(version),
        };
        self.write_header(api, &mut writer);
        write(&mut writer);
        let length = (writer.bytes.len() - 4) as i32;
        writer.bytes[..4].copy_from_slice(&length.to_be_bytes());
        let mut transfer = TransferDeadline::until(deadline);
        self.stream.write_all(&writer.bytes, &mut transfer)?;
        self.request = writer.bytes;
        let length = self.read_response(&mut transfer)?;
        let is_flexible = api.is_flexible(version);
        let mut reader = ResponseReader::new(&self.response[..length], version, is_flexible);
        if reader.i32()? != self.correlation_id {
            return Err(Malformed.into());
        }
        // Any client must be able to read the header of this one.
        if api.key != ApiVersions::API.key {
            reader.tags()?;
        }
        let response = read(&mut reader)?;
        let throttle = Duration::from_millis(u64::try_from(reader.throttle_ms).unwrap_or(0));
        self.throttled_until = (!throttle.is_zero()).then(|| Instant::now() + throttle);
        for buffer in [&mut self.request, &mut self.response] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        Ok(response)
    }

    /// Since KIP-219 a broker that is over a quota answers at once, and then reads nothing more
    /// from the connection for the time that it has said. A request that is sent before only
    /// waits, and seems to be lost.
    fn wait_for_quota(&mut self, deadline: Instant) -> Result<()> {
        let Some(until) = self.throttled_until else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if until >= deadline {
            return Err(RequestError::Throttled(left));
        }
        thread::sleep(left);
        self.throttled_until = None;
        Ok(())
    }

    fn write_header(&self, api: &Api, writer: &mut RequestWriter) {
        writer.bytes.clear();
        writer.i32(0); // the length, written last
        writer.i16(api.key);
        writer.i16(writer.version);
        writer.i32(self.correlation_id);
        // In all headers the client's name has a length of two bytes.
        writer.i16(self.client_id.len() as i16);
        writer.bytes.extend_from_slice(self.client_id.as_bytes());
        writer.no_tags();
    }

    /// Reads a response, and returns how long it is.
    fn read_response(&mut self, transfer: &mut TransferDeadline) -> Result<usize> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length, transfer)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| Malformed)?;
        if is_alert_of_tls(length) {
            let why =
                "the broker's listener speaks TLS: security.protocol is SSL or SASL_SSL there";
            return Err(RequestError::security("no TLS", why));
        }
        if length > RESPONSE_MAX {
            return Err(RequestError::TooLarge(length));
        }
        let mut response = std::mem::take(&mut self.response);
        if response.len() < length {
            response.resize(length, 0);
        }
        self.stream.read_exact(&mut response[..length], transfer)?;
        self.response = response;
        Ok(length)
    }
}

/// The host of `host:port`; an address of IPv6 is in brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

/// Whether the first four bytes of a response are those of an alert of TLS, which is how a listener
/// with TLS answers a client that speaks without.
fn is_alert_of_tls(length: usize) -> bool {
    length >> 16 == 0x1503
}

fn cut_at_first(error: RequestError, address: &str) -> RequestError {
    match error {
        // By TLS 1.3 a broker refuses a client's certificate after the client's part is done.
        RequestError::Connection(error) if is_of_tls(&error) => explain(error, host_of(address)),
        RequestError::Connection(error) if is_cut(&error) => RequestError::HandshakeCut(format!(
            "{address} closed the connection at the first request ({error}): its listener may want \
             another security.protocol, or no broker is ready"
        )),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::requests::MetadataRequest;

    #[test]
    fn a_listener_with_tls_is_recognized() {
        let error = opened_at(&[0x15, 3, 3, 0, 2, 2, 0x46]);
        assert!(matches!(error, RequestError::Security(_)) && !error.is_retriable(), "{error}");
        assert!(error.to_string().contains("SASL_SSL"), "{error}");
    }

    #[test]
    fn a_response_that_is_too_large_is_an_error_that_stays() {
        let error = opened_at(b"HTTP/1.1");
        assert!(matches!(error, RequestError::TooLarge(_)) && !error.is_retriable(), "{error}");
        assert!(error.to_string().contains("(67108864)"), "{error}");
    }

    /// A broker that is over a quota reads nothing more for a while: a request that is sent
    /// meanwhile would only seem to be lost, and its connection would be replaced.
    #[test]
    fn a_quota_is_waited_for_and_nothing_is_sent_before() {
        const THROTTLE: Duration = Duration::from_millis(400);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let broker = thread::spawn(move || {
            let (mut other, _) = listener.accept().expect("connected");
            let mut request = || {
                let mut length = [0; 4];
                other.read_exact(&mut length).expect("a request");
                let mut rest = vec![0; i32::from_be_bytes(length) as usize];
                other.read_exact(&mut rest).expect("a request");
                other.try_clone().expect("a socket")
            };
            let mut body = vec![0, 0, 0, 1, 0, 0, 2, 0, 3, 0, 9, 0, 9, 0];
            body.extend_from_slice(&(THROTTLE.as_millis() as i32).to_be_bytes());
            body.push(0);
            let mut response = (body.len() as i32).to_be_bytes().to_vec();
            response.extend_from_slice(&body);
            request().write_all(&response).expect("written");
            let began = Instant::now();
            request();
            began.elapsed()
        });
        let settings = ConnectionSettings::plain(&address);
        let tls = TlsConfigs::default();
        let timeout = Duration::from_secs(5);
        let mut connection =
            Connection::open(&address, &settings, &tls, timeout).expect("connected");
        let request = MetadataRequest { topics: &[] };
        let soon = Instant::now() + THROTTLE / 4;
        let error = request.call(&mut connection, soon).err().expect("too soon");
        assert!(matches!(error, RequestError::Throttled(_)), "{error}");
        assert!(error.keeps_connection() && error.is_retriable());
        let _ = request.call(&mut connection, Instant::now() + timeout);
        let sent_after = broker.join().expect("a second request");
        assert!(sent_after >= THROTTLE * 9 / 10, "{sent_after:?}");
    }

    #[test]
    fn hosts_are_without_ports() {
        assert_eq!([host_of("a.b:9092"), host_of("[::1]:9092")], ["a.b", "::1"]);
    }

    /// Why a connection is refused to a listener that answers this.
    fn opened_at(answer: &'static [u8]) -> RequestError {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        thread::spawn(move || {
            let (mut other, _) = listener.accept().expect("connected");
            other.read_exact(&mut [0; 4]).expect("a request");
            other.write_all(answer).expect("written");
            thread::sleep(Duration::from_secs(1));
        });
        let settings = ConnectionSettings::plain("test");
        let tls = TlsConfigs::default();
        let opened = Connection::open(&address, &settings, &tls, Duration::from_secs(5));
        opened.err().expect("refused")
    }
}
