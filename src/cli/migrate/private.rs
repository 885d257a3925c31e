//! The private server of one command: started for it, and removed with the value.

use std::path::PathBuf;

use diesel::sql_types::Bool;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use rand::distr::{Alphanumeric, SampleString as _};

use crate::database::private_server::PrivateServer;
use crate::database::{DatabaseUrl, connect};
use crate::error::{Error, Result};

pub(super) struct Private {
    /// Of a login as the database's own: a superuser, or not.
    pub(super) url: DatabaseUrl,
    _server: Server,
}

struct Server {
    server: PrivateServer,
    home: PathBuf,
}

impl Private {
    /// Starts one, for migrations of the database of `like`.
    pub(super) async fn start(like: &DatabaseUrl) -> Result<Self> {
        let name = Alphanumeric.sample_string(&mut rand::rng(), 16);
        let home = std::env::temp_dir().join(format!("bedplate-scratch-{name}"));
        // The data is thrown away: nothing waits for the disk.
        let server = PrivateServer::at(&home).option("fsync=off").option("synchronous_commit=off");
        let server = Server { server, home };
        server.server.start(&mut |_| {}).await?;
        let urls = server.server.urls()?.ok_or_else(|| Error::configuration("the private server is gone"))?;
        let url = if is_superuser(like).await { urls.admin } else { urls.owner };
        Ok(Self { url, _server: server })
    }
}

#[derive(QueryableByName)]
struct Login {
    #[diesel(sql_type = Bool)]
    rolsuper: bool,
}

/// A proof needs no database: where there is none, the login is an owner as it should be.
async fn is_superuser(url: &DatabaseUrl) -> bool {
    let Ok(mut connection) = connect(url).await else { return false };
    let login = sql_query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user");
    login.get_result::<Login>(&mut connection).await.is_ok_and(|login| login.rolsuper)
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.server.folder().ok().flatten();
        if let Err(error) = self.server.stop() {
            tracing::warn!(%error, home = %self.home.display(), "the private server could not be stopped");
            return;
        }
        for path in folder.iter().chain([&self.home]).filter(|path| path.exists()) {
            if let Err(error) = std::fs::remove_dir_all(path) {
                tracing::warn!(%error, folder = %path.display(), "the private server could not be removed");
            }
        }
    }
}
