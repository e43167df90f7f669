//! The session behind a lock, kept alive while the lock is wanted.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::cli::client::{Answer, Client};

/// Life of a session that is not renewed.
const TTL: Duration = Duration::from_secs(15);

/// A session; renewed until dropped, then destroyed.
pub(super) struct Session {
    client: Arc<Client>,
    id: String,
    /// Ends the renewal when dropped.
    _renewing: Sender<()>,
}

#[derive(Debug, Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Session {
    /// Makes a session; `delete` has its keys deleted, not only released, when it ends.
    pub fn create(client: &Arc<Client>, name: &str, delete: bool) -> Result<Self, String> {
        let mut body = json!({ "Name": name, "TTL": format!("{}s", TTL.as_secs()) });
        if delete && let Some(fields) = body.as_object_mut() {
            fields.insert("Behavior".to_owned(), "delete".into());
        }
        let created: Created = client
            .put("/v1/session/create")
            .send_body(body.to_string().as_bytes())
            .and_then(Answer::json)
            .map_err(|error| format!("failed to create session: {error}"))?;
        let (renewing, stopped) = channel();
        let (renewer, id) = (Arc::clone(client), created.id.clone());
        std::thread::spawn(move || {
            while stopped.recv_timeout(TTL / 2) == Err(RecvTimeoutError::Timeout) {
                // A failure shows in the lock; the next try may do better.
                let _ = renewer.put(format!("/v1/session/renew/{id}")).send();
            }
        });
        Ok(Self { client: Arc::clone(client), id: created.id, _renewing: renewing })
    }

    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its time to live ends it anyway.
        let _ = self.client.put(format!("/v1/session/destroy/{}", self.id)).send();
    }
}
