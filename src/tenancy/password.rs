//! Passwords: argon2id, in the PHC string format.
//!
//! Hashing takes tens of milliseconds of a core, on purpose. It runs on the blocking threads, and outside
//! of transactions, so that no connection waits for it.

use std::fmt;
use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};

/// Fewest characters of a password, as in
/// [NIST SP 800-63B](https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver).
pub const MIN_LENGTH: usize = 8;

/// Most characters: a longer one only costs time.
pub const MAX_LENGTH: usize = 256;

/// The hash of a password. Shown by no `Debug`, and not serialisable.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a new password with the defaults of argon2 (19 MiB, 2 passes), which are
    /// [OWASP's](https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id).
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than [`MIN_LENGTH`] or more than [`MAX_LENGTH`] characters.
    pub async fn new(password: &SecretString) -> Result<Self> {
        let length = password.expose_secret().chars().count();
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
            // The length of what was typed is not told.
            return Err(Error::invalid("password", format!("needs {MIN_LENGTH} to {MAX_LENGTH} characters")));
        }
        let password = password.clone();
        blocking(move || {
            let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| Self(hash.to_string())).map_err(|error| Error::invalid("password", error.to_string()))
        })
        .await?
    }

    /// Takes the PHC string of a row.
    pub(crate) fn stored(phc: String) -> Self {
        Self(phc)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the stored one's. Where nothing is stored, a hash that no password has is
    /// checked instead: the time does not tell which names exist.
    pub(crate) async fn verify(stored: Option<Self>, password: &SecretString) -> Result<bool> {
        static NOBODY: LazyLock<String> =
            LazyLock::new(|| Argon2::default().hash_password(b"").map(|hash| hash.to_string()).unwrap_or_default());
        let password = password.clone();
        blocking(move || {
            let known = stored.is_some();
            let phc = stored.map_or_else(|| NOBODY.clone(), |hash| hash.0);
            let Ok(hash) = Phc::new(&phc) else {
                return false;
            };
            Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok() && known
        })
        .await
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Io { doing: "hashing a password".into(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[tokio::test]
    async fn a_hash_knows_its_password_and_shows_nothing() {
        let password = SecretString::from("correct horse battery");
        let hash = PasswordHash::new(&password).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$"), "{}", hash.as_str());
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
        assert!(PasswordHash::verify(Some(hash.clone()), &password).await.unwrap());
        assert!(!PasswordHash::verify(Some(hash), &"wrong horse battery".into()).await.unwrap());
        assert!(!PasswordHash::verify(Some(PasswordHash::stored("no hash".into())), &password).await.unwrap());
        assert!(!PasswordHash::verify(None, &"".into()).await.unwrap());
    }

    #[rstest]
    #[case("short")]
    #[case(&"x".repeat(MAX_LENGTH + 1))]
    #[tokio::test]
    async fn a_password_has_a_length(#[case] password: &str) {
        let error = PasswordHash::new(&password.into()).await.unwrap_err();
        assert_eq!(error.to_string(), "password needs 8 to 256 characters");
    }
}
