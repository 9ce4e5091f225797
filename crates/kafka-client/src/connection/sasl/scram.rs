//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): neither side sees the other's secret, and
//! the broker has to prove that it knows the user.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScramHash {
    Sha256,
    Sha512,
}

impl ScramHash {
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Fewer iterations would give the password away to a broker that is none.
const ITERATIONS_MIN: u32 = 4_096;
/// More would only cost time: Kafka stores at most 16,384.
const ITERATIONS_MAX: u32 = 1_000_000;
/// "No channel binding", in base64: the header that the first message began with.
const NO_CHANNEL_BINDING: &str = "c=biws";

/// An exchange of messages: the client's first one was sent.
pub(super) struct ScramExchange<'a> {
    hash: ScramHash,
    password: &'a str,
    nonce: String,
    /// The first message without its header.
    first_bare: String,
}

/// What the broker has to prove that it knows the user.
pub(super) struct ExpectedSignature {
    key: hmac::Key,
    message: String,
}

impl<'a> ScramExchange<'a> {
    /// Begins an exchange with a nonce of 24 random bytes.
    pub(super) fn new(
        hash: ScramHash,
        username: &str,
        password: &'a str,
    ) -> Result<Self, &'static str> {
        let mut nonce = [0; 24];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "the system has no random numbers")?;
        Ok(Self::with_nonce(hash, username, password, &BASE64.encode(nonce)))
    }

    fn with_nonce(hash: ScramHash, username: &str, password: &'a str, nonce: &str) -> Self {
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={username},r={nonce}");
        Self { hash, password, nonce: nonce.to_owned(), first_bare }
    }

    /// The client's first message.
    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's final message, as an answer to the broker's first one.
    pub(super) fn final_message(
        self,
        server_first: &str,
    ) -> Result<(String, ExpectedSignature), &'static str> {
        let mut parts = server_first.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or("the broker's SCRAM message has no nonce")?;
        let salt = part("s=").ok_or("the broker's SCRAM message has no salt")?;
        let iterations = part("i=").and_then(|text| text.parse::<u32>().ok());
        let iterations = iterations
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .and_then(NonZeroU32::new)
            .ok_or("the broker's SCRAM message has no acceptable number of iterations")?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("the broker's SCRAM message belongs to another exchange");
        }
        let salt = BASE64.decode(salt).map_err(|_| "the broker's SCRAM message has no salt")?;

        let mut salted = vec![0; self.hash.digest().output_len()];
        let password = self.password.as_bytes();
        pbkdf2::derive(self.hash.pbkdf2(), iterations, &salt, password, &mut salted);
        let salted = hmac::Key::new(self.hash.hmac(), &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let without_proof = format!("{NO_CHANNEL_BINDING},r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hmac::Key::new(self.hash.hmac(), stored_key.as_ref());
        let signature = hmac::sign(&signature, message.as_bytes());
        let bytes = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = bytes.map(|(one, other)| one ^ other).collect();

        let server_key = hmac::sign(&salted, b"Server Key");
        let key = hmac::Key::new(self.hash.hmac(), server_key.as_ref());
        let final_message = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok((final_message, ExpectedSignature { key, message }))
    }
}

impl ExpectedSignature {
    /// Whether the broker's final message proves that it knows the user.
    pub(super) fn verify(&self, server_final: &str) -> Result<(), String> {
        if let Some(error) = server_final.strip_prefix("e=") {
            return Err(format!("the broker ends SCRAM: {error}"));
        }
        let signature = server_final.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = signature.and_then(|text| BASE64.decode(text).ok()).unwrap_or_default();
        hmac::verify(&self.key, self.message.as_bytes(), &signature)
            .map_err(|_| "the broker does not know the user's secret: it may be an impostor".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn exchange() -> ScramExchange<'static> {
        ScramExchange::with_nonce(ScramHash::Sha256, "user", "pencil", NONCE)
    }

    #[test]
    fn the_exchange_of_the_rfc() {
        let exchange = exchange();
        assert_eq!(exchange.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (message, expected) = exchange.final_message(SERVER_FIRST).expect("good");
        assert_eq!(message, CLIENT_FINAL);
        assert_eq!(expected.verify(SERVER_FINAL), Ok(()));
    }

    #[test]
    fn a_broker_that_does_not_know_the_secret_is_refused() {
        let (_, expected) = exchange().final_message(SERVER_FIRST).expect("good");
        let wrong = SERVER_FINAL.replace("v=6", "v=7");
        for message in [wrong.as_str(), "v=", "", "e=invalid-proof"] {
            assert!(expected.verify(message).is_err(), "{message}");
        }
    }

    #[test]
    fn a_message_of_another_exchange_or_with_few_iterations_is_refused() {
        for (from, to) in [
            ("r=rO", "r=r0"),
            ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            ("i=4096", "i=1"),
            ("i=4096", "i=4000000000"),
            ("s=W22", "s=*"),
            ("s=", "t="),
        ] {
            let message = SERVER_FIRST.replace(from, to);
            assert!(exchange().final_message(&message).is_err(), "{message}");
        }
    }

    #[test]
    fn names_are_quoted() {
        let exchange = ScramExchange::with_nonce(ScramHash::Sha512, "a=b,c", "p", "x");
        assert_eq!(exchange.first_message(), "n,,n=a=3Db=2Cc,r=x");
    }

    /// The broker's side, computed by its formulas: the client's proof must yield the stored key.
    #[test]
    fn a_broker_with_sha_512_accepts_the_proof() {
        let hash = ScramHash::Sha512;
        let exchange = ScramExchange::new(hash, "ann", "secret").expect("random numbers");
        let first_bare = exchange.first_bare.clone();
        let server_first =
            format!("r={}broker,s={},i=8192", exchange.nonce, BASE64.encode(b"salt"));
        let (message, expected) = exchange.final_message(&server_first).expect("good");
        let (without_proof, proof) = message.split_once(",p=").expect("a proof");
        let proof = BASE64.decode(proof).expect("base64");
        let mut salted = [0; 64];
        let iterations = NonZeroU32::new(8_192).expect("not 0");
        pbkdf2::derive(hash.pbkdf2(), iterations, b"salt", b"secret", &mut salted);
        let salted = hmac::Key::new(hash.hmac(), &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash.digest(), client_key.as_ref());
        let text = format!("{first_bare},{server_first},{without_proof}");
        let signature =
            hmac::sign(&hmac::Key::new(hash.hmac(), stored_key.as_ref()), text.as_bytes());
        let recovered: Vec<u8> =
            proof.iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
        assert_eq!(digest::digest(hash.digest(), &recovered).as_ref(), stored_key.as_ref());
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(hash.hmac(), server_key.as_ref());
        let signature = BASE64.encode(hmac::sign(&server_key, text.as_bytes()));
        assert_eq!(expected.verify(&format!("v={signature}")), Ok(()));
    }
}
