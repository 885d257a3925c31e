//! The text of an API key: `bp_<label>_<tenant, id, secret and checksum in base64url>`.
//!
//! Always holds: a text that was mistyped or made up is told by its checksum, without the database; nothing
//! shows the secret but [`ApiKeySecret::reveal`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::api_key::ApiKeyId;
use super::tenant::TenantId;
use crate::error::{Error, Result};

const MARK: &str = "bp_";
const SECRET: usize = 32;
const CHECKSUM: usize = 4;
const LENGTH: usize = 16 + 16 + SECRET + CHECKSUM;

/// An API key as its holder sends it. Shown by no `Debug`.
#[derive(Clone)]
pub struct ApiKeySecret {
    pub(super) tenant_id: TenantId,
    pub(super) id: ApiKeyId,
    secret: [u8; SECRET],
}

impl ApiKeySecret {
    /// A new key, with 256 random bits of the operating system's generator.
    pub(super) fn new(tenant_id: TenantId) -> Self {
        Self { tenant_id, id: ApiKeyId::new(), secret: rand::rng().random() }
    }

    /// Reads a key as it came.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for what was never issued: the checksum tells.
    pub fn parse(text: &SecretString) -> Result<Self> {
        let payload = text.expose_secret().strip_prefix(MARK).and_then(|rest| rest.split_once('_'));
        let (label, payload) = payload.ok_or(Error::Unauthenticated)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Error::Unauthenticated)?;
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| Error::Unauthenticated)?;
        let (body, checksum) = bytes.split_at(LENGTH - CHECKSUM);
        if checksum_of(body) != checksum {
            return Err(Error::Unauthenticated);
        }
        let uuid = |at: usize| Uuid::from_slice(&body[at..at + 16]).map_err(|_| Error::Unauthenticated);
        let mut secret = [0; SECRET];
        secret.copy_from_slice(&body[32..]);
        let key = Self { tenant_id: uuid(0)?.into(), id: uuid(16)?.into(), secret };
        if key.label() == label { Ok(key) } else { Err(Error::Unauthenticated) }
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(self.tenant_id.as_uuid().as_bytes());
        bytes.extend_from_slice(self.id.as_uuid().as_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&checksum_of(&bytes));
        format!("{}_{}", self.prefix(), URL_SAFE_NO_PAD.encode(bytes)).into()
    }

    /// How the text begins: to tell keys apart in lists, and for scanners that look for keys in repositories.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{MARK}{}", self.label())
    }

    /// The last, random digits of the id.
    fn label(&self) -> String {
        let id = self.id.as_uuid().simple().to_string();
        id[id.len() - 8..].to_owned()
    }

    /// What is stored. The secret is random, so that a hash which is slow on purpose would protect nothing.
    pub(super) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret).to_vec()
    }

    /// Whether the stored hash is this secret's; takes as long either way.
    pub(super) fn is_hashed_as(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeySecret({}…)", self.prefix())
    }
}

fn checksum_of(body: &[u8]) -> [u8; CHECKSUM] {
    let hash = Sha256::digest(body);
    [hash[0], hash[1], hash[2], hash[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_comes_back_as_it_went_and_shows_nothing() {
        let key = ApiKeySecret::new(Uuid::now_v7().into());
        let text = key.reveal();
        let again = ApiKeySecret::parse(&text).unwrap();
        assert_eq!((again.tenant_id, again.id, again.hash()), (key.tenant_id, key.id, key.hash()));
        assert!(again.is_hashed_as(&key.hash()));
        assert!(!ApiKeySecret::new(key.tenant_id).is_hashed_as(&key.hash()));
        assert!(!key.is_hashed_as(&key.hash()[..31]));
        assert!(text.expose_secret().starts_with(&key.prefix()));
        assert_eq!(format!("{key:?}"), format!("ApiKeySecret({}…)", key.prefix()));
    }

    proptest! {
        /// One character that is another one: told, wherever it is.
        #[test]
        fn a_mistyped_key_is_told(at in 0_usize..103, to in "[A-Za-z0-9_-]") {
            let text = ApiKeySecret::new(Uuid::now_v7().into()).reveal().expose_secret().to_owned();
            let at = at % text.len();
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &to);
            prop_assume!(wrong != text);
            prop_assert!(ApiKeySecret::parse(&wrong.into()).is_err());
        }

        #[test]
        fn nonsense_is_refused(text in ".{0,200}") {
            prop_assert!(ApiKeySecret::parse(&text.clone().into()).is_err());
            let marked = format!("bp_0123abcd_{text}");
            prop_assert!(ApiKeySecret::parse(&marked.into()).is_err());
        }
    }
}
