//! A connection beside the pool, for whoever asks how things stand: an exhausted pool must not hide it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::connect::{connect_plainly, words};
use super::url::DatabaseUrl;
use crate::error::{Error, Result};

/// One connection, made when it is first needed and again after it was lost.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<Client>>);

impl Probe {
    /// The rows of these statements, as `bedplate_system`, in a transaction that reads. Through a pooler too: it is
    /// all one text.
    ///
    /// # Errors
    /// Those of [`connect`](super::connect); [`Error::Unavailable`] where the answer is late.
    pub(super) async fn ask(&self, url: &DatabaseUrl, sql: &str, at_most: Duration) -> Result<Vec<SimpleQueryRow>> {
        let late = |_| Error::Unavailable { message: format!("{url}: no answer within {at_most:?}") };
        let asked = async {
            // Waiting for who asks beside counts too.
            let mut client = self.0.lock().await;
            let kept = client.take().filter(|client| !client.is_closed());
            let connected = if let Some(connected) = kept {
                connected
            } else {
                let (connected, connection) = connect_plainly(url).await?;
                // Ends with the client.
                tokio::spawn(connection);
                connected
            };
            let text = format!(
                "BEGIN READ ONLY; SET LOCAL ROLE bedplate_system; SET LOCAL statement_timeout = {}; {sql}; COMMIT",
                at_most.as_millis()
            );
            let said = |error| Error::Unavailable { message: format!("{url}: {}", words(&error)) };
            let answers = connected.simple_query(&text).await.map_err(said)?;
            // Kept only where nothing failed: a transaction may have been left open.
            *client = Some(connected);
            Ok::<_, Error>(answers)
        };
        let answers = timeout(at_most, asked).await.map_err(late)??;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }
}
