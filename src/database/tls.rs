//! TLS to the server, by rustls, in the modes of libpq.
//!
//! Always holds: a mode whose name begins with `verify` refuses a certificate that no root certificate vouches for,
//! and `verify-full` one of another host as well.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::error::{Error, Result};
use crate::sql::text_enum;

/// `commonName` of X.520.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

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
        let provider = tls_provider();
        let (chain, given) = match self.mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => (None, Vec::new()),
            TlsMode::VerifyCa | TlsMode::VerifyFull => {
                let (roots, given) = self.roots()?;
                let chain = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build();
                let chain = chain.map_err(|error| {
                    Error::configuration(format!("sslmode={}: no root certificates: {error}", self.mode))
                })?;
                (Some(chain), given)
            }
        };
        let verifier = Verifier { provider: provider.clone(), chain, given, name: self.mode == TlsMode::VerifyFull };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::configuration(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(self.connector.get_or_init(|| MakeRustlsConnect::new(config)).clone())
    }

    /// Those that vouch, and those of a file as they are.
    fn roots(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
        match self.roots.as_deref() {
            None | Some("system") => Ok((roots_of_system(), Vec::new())),
            Some(file) => of_file(Path::new(file)),
        }
    }
}

/// What the application has chosen for its process, and `ring` where it has chosen nothing. It is named for each client,
/// and never made that of the process.
pub(crate) fn tls_provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// The system's root certificates.
pub(crate) fn roots_of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "root certificates of the system");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

fn of_file(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::configuration(format!("sslrootcert: {} cannot be read: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    // What OpenSSL reads too: a byte order mark, and an older name of the same.
    let text =
        String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').replace(" X509 CERTIFICATE-", " CERTIFICATE-");
    let read = CertificateDer::pem_slice_iter(text.as_bytes());
    let given: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
    if given.is_empty() {
        return Err(wrong(&"it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"));
    }
    for certificate in &given {
        roots.add(certificate.clone()).map_err(|error| wrong(&error))?;
    }
    Ok((roots, given))
}

/// Looks at the server's certificate as far as the mode asks for. That the server has its key is always looked at.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of the file: the server's own may be one of them.
    given: Vec<CertificateDer<'static>>,
    name: bool,
}

impl Verifier {
    /// As libpq has it: a certificate that is in the file is good while it is valid, also one that signed itself,
    /// whatever it may be used for.
    fn is_given(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, rustls::Error> {
        if !self.given.contains(certificate) {
            return Ok(false);
        }
        let parsed = parsed(certificate)?;
        if parsed.tbs_certificate.issuer != parsed.tbs_certificate.subject {
            return Ok(false);
        }
        let validity = parsed.tbs_certificate.validity;
        let wrong = if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            CertificateError::Expired
        } else if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            CertificateError::NotValidYet
        } else {
            return Ok(true);
        };
        Err(wrong.into())
    }

    /// The host's name; as libpq has it, the common name counts where the certificate has no other. Authorities of the
    /// system make none of these out.
    fn check_name(&self, certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), rustls::Error> {
        if !self.name {
            return Ok(());
        }
        let checked = ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, host));
        match checked {
            Err(_) if !self.given.is_empty() && is_common_name(&parsed(certificate)?, &host.to_str()) => Ok(()),
            checked => checked,
        }
    }
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, rustls::Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Whether the certificate has no names but its subject's, and that is the host's.
fn is_common_name(certificate: &Certificate, host: &str) -> bool {
    let certificate = &certificate.tbs_certificate;
    let names: Option<(bool, SubjectAltName)> = certificate.get().unwrap_or_default();
    let of_host = |name: &GeneralName| matches!(name, GeneralName::DnsName(_) | GeneralName::IpAddress(_));
    if names.is_some_and(|(_, names)| names.0.iter().any(of_host)) {
        return false;
    }
    let mut subject = certificate.subject.0.iter().flat_map(|part| part.0.iter()).rev();
    let common = subject.find(|part| part.oid == COMMON_NAME);
    let common = common.and_then(|part| std::str::from_utf8(part.value.value()).ok()).unwrap_or_default();
    let under = common.strip_prefix('*').filter(|domain| domain.starts_with('.'));
    match (under, host.split_once('.')) {
        (Some(domain), Some((first, _))) => host[first.len()..].eq_ignore_ascii_case(domain),
        _ => !common.is_empty() && host.eq_ignore_ascii_case(common),
    }
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
        if !self.is_given(end_entity, now)? {
            match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                // The name is looked at last, when the chain was found good; and here after that.
                Ok(_)
                | Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        self.check_name(end_entity, server_name)?;
        Ok(ServerCertVerified::assertion())
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
