//! A connection beside the pool, for whoever asks how things stand: an exhausted pool must not hide it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::connect::{connect_plainly, words};
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// One connection, made when it is first needed and again after it was lost.
#[derive(Default)]
pub(super) struct Probe(Arc<Mutex<Option<Client>>>);

impl Probe {
    /// The rows of these statements, as `bedplate_system`, in a transaction that reads. Through a pooler too: it is
    /// all one text.
    ///
    /// # Errors
    /// Those of [`connect`](super::connect); [`Error::Unavailable`] where the answer is late.
    pub(super) async fn ask(&self, url: &DatabaseUrl, sql: &str, at_most: Duration) -> Result<Vec<SimpleQueryRow>> {
        let late = |()| Error::Unavailable { message: format!("{url}: no answer within {at_most:?}") };
        let asked = async {
            // Waiting for who asks beside counts too.
            let mut client = self.0.clone().lock_owned().await;
            if client.as_ref().is_none_or(Client::is_closed) {
                // Goes on where nobody waits for it any more: with a host that hangs it takes longer than one may wait.
                let url = url.clone();
                let connecting = tokio::spawn(async move {
                    *client = None;
                    let (connected, connection) = connect_plainly(&url).await?;
                    // Ends with the client.
                    tokio::spawn(connection);
                    *client = Some(connected);
                    Ok::<_, Error>(client)
                });
                client = connecting.await.map_err(|error| Error::Unavailable { message: error.to_string() })??;
            }
            // Given back only where nothing failed: a transaction may have been left open.
            let Some(connected) = client.take() else { return Err(late(())) };
            let text = format!(
                "BEGIN READ ONLY; SET LOCAL ROLE bedplate_system; SET LOCAL statement_timeout = {}; {sql}; COMMIT",
                at_most.as_millis()
            );
            let said = |error| Error::Unavailable { message: format!("{url}: {}", words(&error)) };
            let answers = connected.simple_query(&text).await.map_err(said)?;
            *client = Some(connected);
            Ok::<_, Error>(answers)
        };
        let answers = timeout(at_most, asked).await.map_err(|_| late(()))??;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }
}
