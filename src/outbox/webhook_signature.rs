//! Signatures of webhooks: HMAC-SHA256 over the id, the time and the body, as <https://www.standardwebhooks.com> has
//! it, so that its libraries check them in any language.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::Sha256;

use crate::error::{Error, Result};

/// The header with the event's id, the same for each attempt.
pub const ID: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signature: `v1,` and base64; several are separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// A message is refused that was signed longer ago, or so far ahead.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// The least bytes of a secret.
const LEAST: usize = 24;

/// A secret that sender and receiver share: `whsec_` and base64, or any other text, whose bytes are the
/// secret (libraries of Standard Webhooks take base64 without `whsec_` too: write it in front); at least 24 bytes.
#[derive(Debug)]
pub struct WebhookSecret(SecretSlice<u8>);

impl FromStr for WebhookSecret {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| Error::configuration("the webhook's secret begins with whsec_ and is no base64"))?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < LEAST {
            return Err(Error::configuration(format!("the webhook's secret is shorter than {LEAST} bytes")));
        }
        Ok(Self(SecretSlice::from(bytes)))
    }
}

/// Why a webhook is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// Its time is no number.
    #[error("{TIMESTAMP} is no time")]
    NoTime,
    /// It was signed too long ago, or too far ahead: it may be a copy.
    #[error("{TIMESTAMP} is more than five minutes away")]
    OutOfTime,
    /// No signature fits.
    #[error("{SIGNATURE} does not fit")]
    WrongSignature,
}

impl WebhookSecret {
    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(mac)
    }

    /// The value of [`SIGNATURE`].
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signature = self.mac(id, &timestamp.to_string(), body).map(|mac| mac.finalize().into_bytes());
        format!("v1,{}", STANDARD.encode(signature.unwrap_or_default()))
    }

    /// For receivers: whether a request comes from who has the secret, and is not an old one sent again. Takes the
    /// three headers, and the body as it came. The same time whatever is wrong with a signature.
    ///
    /// # Errors
    /// Why it is to be refused.
    pub fn verify(&self, id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), WebhookRefusal> {
        self.verify_at(id, timestamp, signature, body, Utc::now())
    }

    fn verify_at(
        &self,
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), WebhookRefusal> {
        let seconds = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let age = now - seconds.ok_or(WebhookRefusal::NoTime)?;
        if age.abs() > TOLERANCE {
            return Err(WebhookRefusal::OutOfTime);
        }
        let fits = |signature: &str| {
            let decoded = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
            decoded.zip(self.mac(id, timestamp, body)).is_some_and(|(given, mac)| mac.verify_slice(&given).is_ok())
        };
        if signature.split(' ').any(fits) { Ok(()) } else { Err(WebhookRefusal::WrongSignature) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn secret() -> WebhookSecret {
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
    }

    /// The example of the specification's libraries.
    #[test]
    fn a_signature_is_that_of_other_libraries() {
        let signature = secret().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[rstest]
    #[case::right("id", "1614265330", "{}", BODY, 0, Ok(()))]
    #[case::one_of_several("id", "1614265330", "v1,eA== v2,x {}", BODY, 0, Ok(()))]
    #[case::just_in_time("id", "1614265330", "{}", BODY, 300, Ok(()))]
    #[case::too_old("id", "1614265330", "{}", BODY, 301, Err(WebhookRefusal::OutOfTime))]
    #[case::too_far_ahead("id", "1614265330", "{}", BODY, -301, Err(WebhookRefusal::OutOfTime))]
    #[case::no_time("id", "today", "{}", BODY, 0, Err(WebhookRefusal::NoTime))]
    #[case::no_time_at_all("id", "9223372036854775807", "{}", BODY, 0, Err(WebhookRefusal::NoTime))]
    #[case::other_id("other", "1614265330", "{}", BODY, 0, Err(WebhookRefusal::WrongSignature))]
    #[case::other_time("id", "1614265331", "{}", BODY, 0, Err(WebhookRefusal::WrongSignature))]
    #[case::other_body("id", "1614265330", "{}", b"{}", 0, Err(WebhookRefusal::WrongSignature))]
    #[case::other_version("id", "1614265330", "v0,{}", BODY, 0, Err(WebhookRefusal::WrongSignature))]
    #[case::empty("id", "1614265330", "", BODY, 0, Err(WebhookRefusal::WrongSignature))]
    fn a_receiver_checks(
        #[case] id: &str,
        #[case] timestamp: &str,
        #[case] signature: &str,
        #[case] body: &[u8],
        #[case] later: i64,
        #[case] expected: Result<(), WebhookRefusal>,
    ) {
        let signature = signature.replace("{}", &secret().sign("id", 1_614_265_330, BODY));
        let now = DateTime::from_timestamp(1_614_265_330 + later, 0).unwrap();
        assert_eq!(secret().verify_at(id, timestamp, &signature, body, now), expected);
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        assert_eq!(
            "short".parse::<WebhookSecret>().unwrap_err().to_string(),
            "the webhook's secret is shorter than 24 bytes"
        );
        let error = "whsec_hush!".parse::<WebhookSecret>().unwrap_err().to_string();
        assert_eq!(error, "the webhook's secret begins with whsec_ and is no base64");
        assert_eq!(format!("{:?}", secret()), "WebhookSecret(SecretBox<[u8]>([REDACTED]))");
    }
}
