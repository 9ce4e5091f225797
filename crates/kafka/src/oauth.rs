//! Tokens of the user's function for librdkafka's clients.
//!
//! librdkafka asks for a token by an event that only some of its clients poll for, and the wrapper
//! around it drops a token's extensions. So one thread sets the tokens of all clients, in time.

use std::ffi::{CString, c_char};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_client::{OauthError, OauthToken, OauthTokenProvider};
use rdkafka::bindings as rd;
use runtime::transport::{ErrorKind, Result, TransportError};

/// A client of librdkafka that authenticates itself by tokens.
pub(crate) trait TokenClient: Send + Sync {
    /// The client, which is alive as long as `self`.
    fn native(&self) -> *mut rd::rd_kafka_t;
}

/// Gives tokens to librdkafka's clients for as long as there are any. Clones are the same.
#[derive(Clone)]
pub(crate) struct TokenKeeper(Arc<KeeperShared>);

struct KeeperShared {
    provider: OauthTokenProvider,
    state: Mutex<KeeperState>,
    changed: Condvar,
}

#[derive(Default)]
struct KeeperState {
    clients: Vec<Weak<dyn TokenClient>>,
    is_running: bool,
}

/// A token is replaced when this part of its life is over.
const RENEWED_AFTER: f64 = 0.8;
/// After the user's function has failed, and at least between two tokens.
const PAUSE: Duration = Duration::from_secs(5);

impl TokenKeeper {
    pub(crate) fn new(provider: OauthTokenProvider) -> Self {
        let state = Mutex::default();
        Self(Arc::new(KeeperShared { provider, state, changed: Condvar::new() }))
    }

    /// Gives `client` a token now, and others later.
    ///
    /// # Errors
    /// There is no token now.
    pub(crate) fn keep(&self, client: &Arc<dyn TokenClient>) -> Result<()> {
        let failed = |error: OauthError| {
            TransportError::new(ErrorKind::Retriable, "a token for SASL OAUTHBEARER", error)
        };
        let token = self.0.provider.token().map_err(failed)?;
        set(&**client, &token).map_err(failed)?;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clients.push(Arc::downgrade(client));
        if !state.is_running {
            let shared = Arc::clone(&self.0);
            let named = thread::Builder::new().name("headwater-tokens".to_owned());
            let spawned = named.spawn(move || shared.run(renewed_in(&token)));
            spawned.map_err(|error| failed(error.into()))?;
            state.is_running = true;
        }
        Ok(())
    }
}

impl KeeperShared {
    fn run(&self, first: Duration) {
        let mut wait = first;
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout(state, wait);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.clients.retain(|client| client.strong_count() > 0);
            if state.clients.is_empty() {
                state.is_running = false;
                return;
            }
            let clients: Vec<_> = state.clients.iter().filter_map(Weak::upgrade).collect();
            drop(state);
            wait = self.renew(&clients).unwrap_or_else(|error| {
                tracing::warn!(target: "headwater::kafka", %error, "a token for SASL OAUTHBEARER");
                PAUSE
            });
        }
    }

    /// Returns when to do so again.
    fn renew(&self, clients: &[Arc<dyn TokenClient>]) -> std::result::Result<Duration, OauthError> {
        let token = self.provider.token()?;
        for client in clients {
            set(&**client, &token)?;
        }
        Ok(renewed_in(&token))
    }
}

fn renewed_in(token: &OauthToken) -> Duration {
    let left = token.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    left.mul_f64(RENEWED_AFTER).max(PAUSE)
}

fn set(client: &dyn TokenClient, token: &OauthToken) -> std::result::Result<(), OauthError> {
    let since_1970 = token.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires_at = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let text = CString::new(&*token.token)?;
    let principal = CString::new(&*token.principal)?;
    let flat = token.extensions.iter().flat_map(|(name, value)| [name, value]);
    let extensions: std::result::Result<Vec<_>, _> =
        flat.map(|text| CString::new(text.as_str())).collect();
    let extensions = extensions?;
    let mut pointers: Vec<*const c_char> = extensions.iter().map(|text| text.as_ptr()).collect();
    let mut why = [0_u8; 512];
    // SAFETY: the client is alive by the trait's word; all texts are NUL-terminated, alive during
    // the call and copied; the buffer is given with its size.
    let code = unsafe {
        rd::rd_kafka_oauthbearer_set_token(
            client.native(),
            text.as_ptr(),
            expires_at,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            why.as_mut_ptr().cast::<c_char>(),
            why.len(),
        )
    };
    if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let end = why.iter().position(|byte| *byte == 0).unwrap_or(why.len());
    Err(String::from_utf8_lossy(&why[..end]).into())
}
