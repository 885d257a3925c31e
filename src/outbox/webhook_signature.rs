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

/// Number of bytes that a secret may have.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that sender and receiver share: `whsec_` and base64, or any other text, whose bytes are the
/// secret (libraries of Standard Webhooks take base64 without `whsec_` too: write it in front); 24 to 64 bytes.
#[derive(Debug)]
pub struct WebhookSecret(SecretSlice<u8>);

impl FromStr for WebhookSecret {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| Error::configuration(format!("the webhook's secret {why}"));
        let is_stray = |c: char| c.is_control() || c == '\u{feff}';
        if text.trim() != text || text.contains(is_stray) {
            return Err(refused("holds a blank at its begin or end, a control character or a byte order mark"));
        }
        let lower = text.to_ascii_lowercase();
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| refused("begins with whsec_ and is no base64"))?,
            None if lower.contains("whsec_") => return Err(refused("contains whsec_ and does not begin with it")),
            None if lower.starts_with("whsk_") || lower.starts_with("whpk_") => {
                return Err(refused(
                    "is a key of asymmetric signatures (v1a), which are not made here: take a whsec_ one",
                ));
            }
            None => text.as_bytes().to_vec(),
        };
        if !LENGTH.contains(&bytes.len()) {
            let (least, most, found) = (LENGTH.start(), LENGTH.end(), bytes.len());
            return Err(refused(&format!("has {found} bytes, allowed are {least} to {most}")));
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

    /// The same with several secrets, of which any may have signed: while a secret is replaced, a receiver knows the old
    /// one and the new one.
    ///
    /// # Errors
    /// Why it is to be refused by all of them.
    pub fn verify_any(
        secrets: &[Self],
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<(), WebhookRefusal> {
        let mut refused = Err(WebhookRefusal::WrongSignature);
        for secret in secrets {
            refused = secret.verify(id, timestamp, signature, body);
            if refused.is_ok() {
                break;
            }
        }
        refused
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

    #[rstest]
    #[case::short("short", "has 5 bytes, allowed are 24 to 64")]
    #[case::short_inside("whsec_aHVzaCE=", "has 5 bytes, allowed are 24 to 64")]
    #[case::long(&"x".repeat(65), "has 65 bytes, allowed are 24 to 64")]
    #[case::no_base64("whsec_hush!", "begins with whsec_ and is no base64")]
    #[case::url_safe("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", "begins with whsec_ and is no base64")]
    #[case::without_padding("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMA", "begins with whsec_ and is no base64")]
    #[case::twice("whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_ and is no base64")]
    #[case::inside("secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "contains whsec_ and does not begin with it")]
    #[case::in_quotes("\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"", "contains whsec_ and does not begin with it")]
    #[case::other_case("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "contains whsec_ and does not begin with it")]
    #[case::asymmetric("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "is a key of asymmetric signatures")]
    #[case::mark("\u{feff}whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "holds a blank")]
    #[case::blank_before(" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "holds a blank")]
    #[case::blank_behind("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\t", "holds a blank")]
    #[case::line("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "holds a blank")]
    #[case::hard_blank("a secret of enough bytes, and so on\u{a0}", "holds a blank")]
    #[case::nul("a secret of enough bytes\0, and so on", "holds a blank")]
    fn a_bad_secret_is_refused_and_never_shown(#[case] text: &str, #[case] expected: &str) {
        let error = text.parse::<WebhookSecret>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("the webhook's secret {expected}")), "{error}");
        assert!(!error.contains("MfKQ") && !error.contains("hush!"), "{error}");
    }

    #[test]
    fn a_good_secret_is_taken_and_never_shown() {
        for text in [&"x".repeat(24), &"x".repeat(64), &format!("whsec_{}", STANDARD.encode([0; 24]))] {
            text.parse::<WebhookSecret>().unwrap();
        }
        assert_eq!(format!("{:?}", secret()), "WebhookSecret(SecretBox<[u8]>([REDACTED]))");
    }

    #[test]
    fn any_of_several_secrets_may_have_signed() {
        let other = || "a secret of at least twenty-four bytes".parse::<WebhookSecret>().unwrap();
        let now = Utc::now().timestamp();
        let (old, new) = (secret().sign("id", now, BODY), other().sign("id", now, BODY));
        let (now, both) = (now.to_string(), format!("{new} {old}"));
        let verify = |secrets: &[WebhookSecret], signature: &str, now: &str| {
            WebhookSecret::verify_any(secrets, "id", now, signature, BODY)
        };
        for signature in [&old, &new, &both] {
            verify(&[secret(), other()], signature, &now).unwrap();
        }
        verify(&[secret()], &both, &now).unwrap();
        verify(&[other()], &both, &now).unwrap();
        assert_eq!(verify(&[other()], &old, &now), Err(WebhookRefusal::WrongSignature));
        assert_eq!(verify(&[], &both, &now), Err(WebhookRefusal::WrongSignature));
        assert_eq!(verify(&[secret(), other()], &both, "7"), Err(WebhookRefusal::OutOfTime));
    }
}
