//! A sink that posts messages to a URL, signed as <https://www.standardwebhooks.com> has it.
//!
//! Always holds: the secret is in no log, error or `Debug`; no redirect is followed, for it would take the signed
//! message somewhere else; what the receiver answers beyond its status is not read.
//!
//! | answer | what follows |
//! |---|---|
//! | 2xx | published |
//! | 410 | the endpoint is stopped, for all messages |
//! | any other, no answer, no connection | another attempt, not before `Retry-After` (at most an hour) |

use std::io::Cursor;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use serde_json::json;
use url::{Position, Url};

use super::endpoint::Endpoint;
use super::message::OutboxEvent;
use super::sink::{Sink, SinkError};
use super::webhook_client::{Body, WebhookClient};
use super::webhook_signature::{ID, SIGNATURE, TIMESTAMP, WebhookSecret};
use crate::error::{Error, Result};

/// Posts messages to a URL.
pub struct Webhook {
    url: Url,
    address: Uri,
    endpoint: Endpoint,
    secrets: Vec<WebhookSecret>,
    client: WebhookClient,
}

/// Without path and query, where some receivers have a token.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}://{})", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }
}

impl Webhook {
    /// To this URL, `http` or `https`, signed with this secret.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL that is none, has another scheme, or holds a password; for `https` without
    /// the system's certificates.
    pub fn new(url: &str, secret: WebhookSecret) -> Result<Self> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Error::configuration("the webhook's URL is none of http or https"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::configuration("the webhook's URL holds a login: receivers check the signature instead"));
        }
        let address = address(&url).map_err(|error| Error::configuration(format!("the webhook's URL: {error}")))?;
        let client = WebhookClient::new(&address)?;
        let endpoint = Endpoint::new(url.as_str(), &url.origin().ascii_serialization());
        Ok(Self { url, address, endpoint, secrets: vec![secret], client })
    }

    /// With one more signature, by another secret: while a secret is replaced, receivers know one of the two.
    #[must_use]
    pub fn also_sign_with(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }
}

/// With its port: the tunnel of a proxy takes 443 where there is none.
fn address(url: &Url) -> http::Result<Uri> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let path = &url[Position::BeforePath..Position::AfterQuery];
    Uri::builder().scheme(url.scheme()).authority(format!("{host}:{port}")).path_and_query(path).build()
}

/// What is posted.
fn body(message: &OutboxEvent) -> Vec<u8> {
    json!({
        "type": message.event_type,
        "timestamp": message.created_at,
        "data": message.payload,
        "tenant_id": message.tenant_id,
        "entity_type": message.entity_type,
        "entity_id": message.entity_id,
        "sequence": message.sequence,
        "correlation_id": message.correlation_id,
    })
    .to_string()
    .into_bytes()
}

impl Sink for Webhook {
    async fn publish(&self, message: &OutboxEvent) -> Result<(), SinkError> {
        let (id, timestamp, body) = (message.event_id.to_string(), Utc::now().timestamp(), body(message));
        let signatures: Vec<_> = self.secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
        let post = Request::post(self.address.clone())
            .header(USER_AGENT, concat!("bedplate/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(ID, id)
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signatures.join(" "))
            .body(Body::new(Cursor::new(body)))
            .map_err(|error| SinkError::retry(error.to_string()))?;
        match self.client.send(post).await {
            Ok(answer) => judge(answer.status(), answer.headers(), Utc::now()),
            Err(error) => Err(SinkError::retry(format!("no answer: {}", causes(&error)))),
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        Some(&self.endpoint)
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), SinkError> {
    let message = format!("the receiver answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(SinkError::retry(format!("{message}: redirects are not followed"))),
        410 => Err(SinkError::gone(message)),
        _ => Err(SinkError::Retry { message, after: retry_after(headers, now) }),
    }
}

/// Seconds, or a time.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    (at.to_utc() - now).to_std().ok()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(204, "", "published")]
    #[case(301, "", "retry")]
    #[case(400, "", "retry")]
    #[case(401, "", "retry")]
    #[case(404, "60", "retry after 60s")]
    #[case(408, "", "retry")]
    #[case(410, "", "gone")]
    #[case(410, "60", "gone")]
    #[case(411, "", "retry")]
    #[case(422, "", "retry")]
    #[case(425, "", "retry")]
    #[case(429, "7", "retry after 7s")]
    #[case(429, "Sun, 06 Nov 1994 08:49:37 GMT", "retry after 37s")]
    #[case(429, "Sun, 06 Nov 1994 08:48:00 GMT", "retry")]
    #[case(429, "soon", "retry")]
    #[case(503, "120", "retry after 120s")]
    #[case(599, "", "retry")]
    fn what_an_answer_means(#[case] status: u16, #[case] retry_after: &str, #[case] expected: &str) {
        let mut headers = HeaderMap::new();
        if !retry_after.is_empty() {
            headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        }
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        let found = match judge(StatusCode::from_u16(status).unwrap(), &headers, now) {
            Ok(()) => "published".to_owned(),
            Err(SinkError::Hopeless { .. }) => "dead".to_owned(),
            Err(SinkError::Gone { .. }) => "gone".to_owned(),
            Err(SinkError::Retry { after: None, .. }) => "retry".to_owned(),
            Err(SinkError::Retry { after: Some(after), .. }) => format!("retry after {after:?}"),
        };
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case("ftp://example.org", "the webhook's URL is none of http or https")]
    #[case("nonsense", "the webhook's URL is none of http or https")]
    #[case("https://me:hush@example.org", "the webhook's URL holds a login: receivers check the signature instead")]
    fn bad_urls_are_refused(#[case] url: &str, #[case] expected: &str) {
        let secret = "a secret of at least twenty-four bytes".parse().unwrap();
        assert_eq!(Webhook::new(url, secret).unwrap_err().to_string(), expected);
    }

    #[rstest]
    #[case("http://example.org/hooks?a=b#c", "http://example.org:80/hooks?a=b")]
    #[case("https://example.org", "https://example.org:443/")]
    #[case("http://[::1]:8080/\u{fc}", "http://[::1]:8080/%C3%BC")]
    fn an_address_has_its_port(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(address(&url.parse().unwrap()).unwrap().to_string(), expected);
    }

    /// An application chooses its own; a client that needs one and finds ours would have another cryptography.
    #[test]
    fn the_process_gets_no_provider_by_a_webhook() {
        let secret = "a secret of at least twenty-four bytes".parse().unwrap();
        Webhook::new("https://example.org/hooks", secret).unwrap();
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    /// The path may hold a token.
    #[test]
    fn debug_shows_neither_path_nor_secret() {
        let secret = "a secret of at least twenty-four bytes".parse().unwrap();
        let webhook = Webhook::new("https://example.org/hooks/T0KEN?key=hush", secret).unwrap();
        assert_eq!(format!("{webhook:?}"), "Webhook(https://example.org)");
    }
}
