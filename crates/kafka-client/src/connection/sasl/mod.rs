//! Authentication by SASL, on a connection that is open.
//!
//! | file | what it is |
//! |---|---|
//! | `oauth_bearer.rs` | the message of OAUTHBEARER |
//! | `scram.rs` | SCRAM-SHA-256 and SCRAM-SHA-512 |

mod oauth_bearer;
mod scram;

use std::io;
use std::str;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::{Connection, RequestError, Result};
use crate::requests::{sasl_authenticate, sasl_handshake};
use crate::settings::{Credentials, OauthTokenProvider, Password};

use scram::ScramExchange;
pub(crate) use scram::ScramHash;

/// Authenticates the connection, which may be authenticated already. Returns when that has to be
/// repeated, if the broker gives a session a lifetime (KIP-368).
pub(super) fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
    deadline: Instant,
) -> Result<Option<Instant>> {
    sasl_handshake(connection, credentials.mechanism(), deadline)?;
    let lifetime = match credentials {
        Credentials::Plain(Password { username, password }) => {
            let message = format!("\0{username}\0{password}");
            sasl_authenticate(connection, message.as_bytes(), deadline)?.session_lifetime
        }
        Credentials::Scram(hash, password) => scram(connection, *hash, password, deadline)?,
        Credentials::OauthBearer(provider) => oauth_bearer(connection, provider, deadline)?,
    };
    Ok((!lifetime.is_zero()).then(|| Instant::now() + lifetime.mul_f64(part_of_lifetime())))
}

fn scram(
    connection: &mut Connection,
    hash: ScramHash,
    password: &Password,
    deadline: Instant,
) -> Result<Duration> {
    let failed = |why: &str| RequestError::security("SCRAM", why);
    let exchange = ScramExchange::new(hash, &password.username, &password.password);
    let exchange = exchange.map_err(failed)?;
    let first = exchange.first_message();
    let response = sasl_authenticate(connection, first.as_bytes(), deadline)?;
    let server_first = str::from_utf8(&response.bytes).map_err(|_| failed("not text"))?;
    let (last, expected) = exchange.final_message(server_first).map_err(failed)?;
    let response = sasl_authenticate(connection, last.as_bytes(), deadline)?;
    let server_final = str::from_utf8(&response.bytes).map_err(|_| failed("not text"))?;
    expected.verify(server_final).map_err(|why| failed(&why))?;
    Ok(response.session_lifetime)
}

fn oauth_bearer(
    connection: &mut Connection,
    provider: &OauthTokenProvider,
    deadline: Instant,
) -> Result<Duration> {
    // The identity provider may be away for a while, which is no reason to give up.
    let token = provider.token().map_err(|error| {
        RequestError::Connection(io::Error::other(format!("no token for OAUTHBEARER: {error}")))
    })?;
    let message = oauth_bearer::message(&token);
    let message = message.map_err(|why| RequestError::security("OAUTHBEARER", why))?;
    let response = sasl_authenticate(connection, &message, deadline)?;
    if response.bytes.is_empty() {
        return Ok(response.session_lifetime);
    }
    // What is wrong with the token. The exchange ends after our answer, with an error as a rule.
    sasl_authenticate(connection, oauth_bearer::AFTER_ERROR, deadline)?;
    let why = String::from_utf8_lossy(&response.bytes);
    Err(RequestError::security("the broker refuses the token", &why))
}

/// Between 85 and 95 % of a session's lifetime, as in the Java client: not all connections at once.
fn part_of_lifetime() -> f64 {
    let mut random = [0];
    let _ = SystemRandom::new().fill(&mut random);
    0.85 + f64::from(random[0]) / 255.0 * 0.10
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::thread;

    use super::super::TlsConfigs;
    use super::*;
    use crate::requests::MetadataRequest;
    use crate::settings::{ConnectionSettings, Properties};

    /// Runs where `HEADWATER_KAFKA_LOGIN=host:port` names a listener with SASL whose sessions are
    /// short (`connections.max.reauth.ms`); passes without having run elsewhere.
    #[test]
    fn a_connection_outlives_its_session() {
        let Ok(address) = std::env::var("HEADWATER_KAFKA_LOGIN") else { return };
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let set = [
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "headwater"),
                ("sasl.password", "water"),
            ];
            let common: BTreeMap<_, _> =
                set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let properties = Properties { common: &common, own: &BTreeMap::new(), oauth: None };
            let settings = ConnectionSettings::new(&address, properties).expect("known");
            let tls = TlsConfigs::default();
            let timeout = Duration::from_secs(10);
            let opened = Connection::open(&address, &settings, &tls, timeout);
            let mut connection = match opened {
                Ok(connection) => connection,
                Err(RequestError::Security(why)) if why.contains("UNSUPPORTED") => continue,
                Err(error) => panic!("{mechanism}: {error}"),
            };
            let Some(first) = connection.authenticate_at else { continue };
            let began = Instant::now();
            let mut renewals = 0;
            let mut last = first;
            // Several sessions long.
            while began.elapsed() < (first - began) * 4 {
                let request = MetadataRequest { topics: &[] };
                let found = request.call(&mut connection, Instant::now() + timeout);
                assert!(found.is_ok(), "{mechanism}: {:?}", found.err());
                let next = connection.authenticate_at.expect("sessions are limited");
                renewals += usize::from(next != last);
                last = next;
                thread::sleep(Duration::from_millis(100));
            }
            assert!(renewals >= 3, "{mechanism}: {renewals}");
            println!("{mechanism}: renewed {renewals} times");
        }
    }

    #[test]
    fn sessions_are_renewed_before_they_end() {
        for _ in 0..1_000 {
            assert!((0.85..=0.95).contains(&part_of_lifetime()));
        }
    }
}
