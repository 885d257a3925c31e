//! The HTTP client of webhooks: one request at a time, HTTP/1.1, no redirects, no cookies.
//!
//! Not a client with features of its own for TLS: features are those of the whole build, and an application that has the
//! same client would get another one by adding this crate (`scripts/check-features`). The provider of the cryptography
//! is named here, and never made that of the process.

use std::io::Cursor;
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use crate::database::{roots_of_system, tls_provider};
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Body = Full<Cursor<Vec<u8>>>;

/// To one address, which decides about the proxy.
pub(super) enum WebhookClient {
    Direct(Client<HttpsConnector<HttpConnector>, Body>),
    Tunnel(Client<HttpsConnector<Tunnel<HttpConnector>>, Body>),
}

impl WebhookClient {
    /// By the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` name, if there is one.
    pub(super) fn new(address: &Uri) -> Result<Self> {
        // A container without certificates posts to http all the same.
        let roots = if address.scheme_str() == Some("https") { roots_of_system() } else { RootCertStore::empty() };
        if address.scheme_str() == Some("https") && roots.is_empty() {
            return Err(Error::configuration("the webhook: this system has no root certificates to check https by"));
        }
        let tls = ClientConfig::builder_with_provider(tls_provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::configuration(format!("the webhook: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new());
        let Some(proxy) = Matcher::from_env().intercept(address) else {
            return Ok(Self::Direct(client.build(https.wrap_connector(http))));
        };
        if proxy.uri().scheme_str() != Some("http") {
            return Err(Error::configuration("the webhook's proxy is no http:// URL: other proxies are not spoken to"));
        }
        let tunnel = Tunnel::new(proxy.uri().clone(), http);
        let tunnel = match proxy.basic_auth() {
            Some(login) => tunnel.with_auth(login.clone()),
            None => tunnel,
        };
        Ok(Self::Tunnel(client.build(https.wrap_connector(tunnel))))
    }

    /// The answer's status and headers; its body is not read.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<()>, ClientError> {
        let answer = match self {
            Self::Direct(client) => client.request(request).await,
            Self::Tunnel(client) => client.request(request).await,
        };
        answer.map(|answer| answer.map(drop))
    }
}
