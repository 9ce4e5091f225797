//! Tokens for SASL OAUTHBEARER, which the user's program provides.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A token of an identity provider, as SASL OAUTHBEARER sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct OauthToken {
    /// The token, usually a JSON Web Token.
    pub token: String,
    /// Whose token it is, for the log of a client that asks for it.
    pub principal: String,
    /// When it expires.
    pub expires_at: SystemTime,
    /// SASL extensions, such as `logicalCluster`: names of letters only, and their values.
    pub extensions: Vec<(String, String)>,
}

impl fmt::Debug for OauthToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthToken")
            .field("principal", &self.principal)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
pub type OauthError = Box<dyn Error + Send + Sync>;

/// What provides tokens: a function of the user's program. It is called for each new connection and
/// before a token expires, from several threads, and may wait for some seconds.
#[derive(Clone)]
pub struct OauthTokenProvider(Arc<dyn Fn() -> Result<OauthToken, OauthError> + Send + Sync>);

impl OauthTokenProvider {
    /// Tokens from `provide`.
    pub fn new(
        provide: impl Fn() -> Result<OauthToken, OauthError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(provide))
    }

    /// A token that is valid now.
    ///
    /// # Errors
    /// What the user's function says.
    pub fn token(&self) -> Result<OauthToken, OauthError> {
        (self.0)()
    }
}

impl fmt::Debug for OauthTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthTokenProvider")
    }
}

/// Equal if they are the same function.
impl PartialEq for OauthTokenProvider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OauthTokenProvider {}
