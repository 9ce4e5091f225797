//! The message of SASL OAUTHBEARER (RFC 7628).

use crate::settings::OauthToken;

/// Ends the exchange after the broker has said what is wrong with a token.
pub(super) const AFTER_ERROR: &[u8] = b"\x01";

/// The client's message.
pub(super) fn message(token: &OauthToken) -> Result<Vec<u8>, &'static str> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.token.is_empty() || !token.token.chars().all(is_of_token) {
        return Err("the token has characters that no token may have");
    }
    let mut message = format!("n,,\x01auth=Bearer {}\x01", token.token);
    for (name, value) in &token.extensions {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
        let is_value = value.chars().all(|c| " \t\r\n".contains(c) || c.is_ascii_graphic());
        if !is_name || name == "auth" || !is_value {
            return Err("an extension of the token has a name or value that none may have");
        }
        message.extend([name, "=", value, "\x01"]);
    }
    message.push('\x01');
    Ok(message.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn token(text: &str, extensions: &[(&str, &str)]) -> OauthToken {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        OauthToken {
            token: text.to_owned(),
            principal: "ann".to_owned(),
            expires_at: SystemTime::now(),
            extensions: extensions.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_token_goes_out_with_its_extensions() {
        assert_eq!(message(&token("a.b-c", &[])), Ok(b"n,,\x01auth=Bearer a.b-c\x01\x01".to_vec()));
        let extensions = [("logicalCluster", "lkc-1"), ("identityPoolId", "pool")];
        let expected =
            b"n,,\x01auth=Bearer t\x01logicalCluster=lkc-1\x01identityPoolId=pool\x01\x01".to_vec();
        assert_eq!(message(&token("t", &extensions)), Ok(expected));
    }

    #[test]
    fn nothing_slips_into_the_message() {
        assert!(message(&token("", &[])).is_err());
        assert!(message(&token("a\x01auth=Bearer b", &[])).is_err());
        for (name, value) in [("auth", "x"), ("a=b", "x"), ("a", "x\x01y=z"), ("", "x")] {
            assert!(message(&token("t", &[(name, value)])).is_err(), "{name}={value}");
        }
    }
}
