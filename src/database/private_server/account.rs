//! Which account runs the server: one's own, or, for root, whom PostgreSQL refuses, an unprivileged one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, fchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use rand::distr::{Alphanumeric, SampleString as _};

use super::absolute;
use super::process::remove_if_there;
use crate::database::programs;
use crate::error::{Error, Result};

pub(super) struct Account {
    /// Whom root becomes; `None`: nobody else.
    unprivileged: Option<User>,
}

impl Account {
    pub(super) fn for_server() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { unprivileged: None });
        }
        let found = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        found.map(|user| Self { unprivileged: Some(user) }).ok_or_else(|| {
            Error::configuration(
                "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`: \
                 make one, or run this as another user, or set DATABASE_URL",
            )
        })
    }

    /// A command that runs as the account.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = programs::program(program);
        if let Some(user) = &self.unprivileged {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        // The caller's directory may be closed to the account.
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
        command
    }

    /// The folder for data and log: in `home`, or, where the account cannot enter that (as in root's own
    /// home directory), in /var/lib.
    pub(super) fn make_folder(&self, home: &Path) -> Result<PathBuf> {
        let inside = absolute(home)?.join("server");
        let Some(user) = &self.unprivileged else {
            make(&inside)?;
            return Ok(inside);
        };
        make(&inside)?;
        own(user, &inside)?;
        let enters = self.command(Path::new("test")).arg("-w").arg(&inside).status();
        if enters.is_ok_and(|status| status.success()) {
            return Ok(inside);
        }
        // A new name each time: data of a project that was removed has passwords that nobody knows.
        let outside = Path::new("/var/lib/bedplate").join(Alphanumeric.sample_string(&mut rand::rng(), 16));
        fs::remove_dir(&inside).map_err(Error::io(format!("removing {}", inside.display())))?;
        make(&outside)?;
        own(user, &outside)?;
        tracing::info!(user = user.name, folder = %outside.display(), "the server's account cannot enter the project");
        Ok(outside)
    }

    /// A file that only the account can read. Never through a link, and by its handle: the folder is the
    /// account's, and root does not write where somebody else points.
    pub(super) fn secret_file(&self, path: &Path, secret: &str) -> Result<PathBuf> {
        let doing = || format!("writing {}", path.display());
        remove_if_there(path)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Error::io(doing()))?;
        file.write_all(secret.as_bytes()).map_err(Error::io(doing()))?;
        if let Some(user) = &self.unprivileged {
            fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(Error::io(doing()))?;
        }
        Ok(path.to_owned())
    }
}

/// Makes the account the owner.
fn own(user: &User, path: &Path) -> Result<()> {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(Error::io(format!(
        "giving {} to {}",
        path.display(),
        user.name
    )))
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .map_err(Error::io(format!("closing {}", folder.display())))
}
