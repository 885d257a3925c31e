//! TLS to the server, by rustls, in the modes of libpq.
//!
//! Always holds: a mode whose name begins with `verify` refuses a certificate that no root certificate vouches for,
//! and `verify-full` one of another host as well.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Result};
use crate::sql::text_enum;

text_enum! {
    /// `sslmode` (<https://www.postgresql.org/docs/15/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS>).
    #[derive(Default)]
    TlsMode {
        /// No TLS.
        Disable = "disable",
        /// TLS where the server has it, whoever it is: no protection from somebody in between.
        #[default]
        Prefer = "prefer",
        /// TLS or nothing, whoever the server is; with `sslrootcert` the same as `verify-ca`.
        Require = "require",
        /// TLS with a certificate that a root certificate of `sslrootcert` vouches for.
        VerifyCa = "verify-ca",
        /// The same, and it is made out for the host of the URL.
        VerifyFull = "verify-full",
    }
}

/// How the server is spoken to.
pub(super) struct Tls {
    mode: TlsMode,
    /// A file with PEM; `system` or none: those of the system.
    roots: Option<String>,
    connector: OnceLock<MakeRustlsConnect>,
}

impl Tls {
    /// As libpq has it: with root certificates at hand, `require` looks at them too; those of the system vouch for
    /// anybody's host, so that a weaker mode than `verify-full` would prove nothing.
    pub(super) fn new(mode: Option<TlsMode>, roots: Option<String>) -> Result<Self> {
        let by_default = if roots.as_deref() == Some("system") { TlsMode::VerifyFull } else { TlsMode::default() };
        let mode = match (mode.unwrap_or(by_default), roots.as_deref()) {
            (TlsMode::VerifyCa, None) => {
                return Err(Error::configuration(
                    "sslmode=verify-ca needs sslrootcert (or PGSSLROOTCERT): a file of root certificates",
                ));
            }
            (mode @ (TlsMode::Disable | TlsMode::VerifyFull), _) | (mode, None) => mode,
            (_, Some("system")) => {
                return Err(Error::configuration("sslrootcert=system needs sslmode=verify-full"));
            }
            (TlsMode::Require, Some(_)) => TlsMode::VerifyCa,
            (mode @ (TlsMode::Prefer | TlsMode::VerifyCa), Some(_)) => mode,
        };
        Ok(Self { mode, roots, connector: OnceLock::new() })
    }

    pub(super) fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Root certificates are read once, when they are first needed.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect> {
        if let Some(made) = self.connector.get() {
            return Ok(made.clone());
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            provider: provider.clone(),
            chain: match self.mode {
                TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => None,
                TlsMode::VerifyCa | TlsMode::VerifyFull => Some(self.chain(&provider)?),
            },
            name: self.mode == TlsMode::VerifyFull,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::configuration(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(self.connector.get_or_init(|| MakeRustlsConnect::new(config)).clone())
    }

    fn chain(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
        let roots = match self.roots.as_deref() {
            None | Some("system") => of_system(),
            Some(file) => of_file(Path::new(file))?,
        };
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| Error::configuration(format!("sslmode={}: no root certificates: {error}", self.mode)))
    }
}

fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "root certificates of the system");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

fn of_file(path: &Path) -> Result<RootCertStore> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::configuration(format!("sslrootcert: {} cannot be read: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    Ok(roots)
}

/// Looks at the server's certificate as far as the mode asks for. That the server has its key is always looked at.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
