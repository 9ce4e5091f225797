//! How this client authenticates itself by SASL.

use std::fmt;

use super::OauthTokenProvider;
use crate::connection::ScramHash;

/// How this client authenticates itself by SASL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Plain(Password),
    Scram(ScramHash, Password),
    OauthBearer(OauthTokenProvider),
}

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Password {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The mechanism's name.
    pub(crate) fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::Scram(hash, _) => hash.mechanism(),
            Self::OauthBearer(_) => "OAUTHBEARER",
        }
    }
}
