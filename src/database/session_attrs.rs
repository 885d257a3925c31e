//! What a server has to be for a connection to it to be kept: `target_session_attrs`.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::sql::text_enum;

text_enum! {
    /// As libpq has it (<https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS>).
    SessionAttrs {
        /// Whatever it is.
        Any = "any",
        /// It takes writes.
        ReadWrite = "read-write",
        /// It takes none.
        ReadOnly = "read-only",
        /// It is no standby.
        Primary = "primary",
        /// It is one.
        Standby = "standby",
        /// A standby; where no host is one, whatever there is.
        PreferStandby = "prefer-standby",
    }
}

/// What a server is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    standby: bool,
    read_only: bool,
}

impl SessionAttrs {
    pub(super) fn fit(self, role: Role) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => !role.read_only,
            Self::ReadOnly => role.read_only,
            Self::Primary => !role.standby,
            Self::Standby | Self::PreferStandby => role.standby,
        }
    }
}

/// Asked as one text, which goes through a pooler too.
const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery() AS standby, \
                           pg_catalog.current_setting('transaction_read_only') AS read_only";

/// Asks the server. `None`: the connection ended meanwhile.
pub(super) async fn role(
    client: &Client,
    connection: &mut (impl Future<Output = Result<(), tokio_postgres::Error>> + Unpin),
) -> Result<Option<Role>, tokio_postgres::Error> {
    let answers = tokio::select! {
        asked = client.simple_query(ROLE) => asked?,
        ended = connection => return ended.map(|()| None),
    };
    Ok(answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => {
            Some(Role { standby: row.get("standby") == Some("t"), read_only: row.get("read_only") == Some("on") })
        }
        _ => None,
    }))
}
