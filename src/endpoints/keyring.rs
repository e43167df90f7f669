//! Gossip keys: which are installed where, and changes of them.
//!
//! A request goes to every pool of the agent, which asks its members; what they say is put together as Consul does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::future::BoxFuture;

use super::EndpointError;

/// Most members an answer may go through.
pub const MAX_RELAY_FACTOR: u8 = 5;

/// What is done to the keys of all members. Keys are in base64, as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOperation {
    /// Tell which are installed.
    List {
        /// Do not leave this agent's datacenter.
        local_only: bool,
    },
    /// Install a key.
    Install(String),
    /// Encrypt with an installed key from now on.
    Use(String),
    /// Remove a key that is not in use.
    Remove(String),
}

/// What the members of one pool said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolKeys {
    /// The pool of the servers of all datacenters.
    pub wan: bool,
    /// The agent's datacenter.
    pub datacenter: String,
    /// What members had to say, by name.
    pub messages: BTreeMap<String, String>,
    /// How many members have each key.
    pub keys: BTreeMap<String, u64>,
    /// How many members encrypt with each key.
    pub primary_keys: BTreeMap<String, u64>,
    /// How many members there are.
    pub nodes: u64,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// The keys of this agent's pools.
pub trait Keyring: Send + Sync {
    /// Asks all members of all pools, WAN first.
    ///
    /// # Errors
    /// [`EndpointError`] if a pool cannot be asked at all. What members refuse is in the answer.
    fn operate(
        &self,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> BoxFuture<'_, Result<Vec<PoolKeys>, EndpointError>>;
}

/// Carries an operation out.
///
/// # Errors
/// [`EndpointError::Refused`] with everything that went wrong anywhere.
pub async fn operate(
    keyring: &dyn Keyring,
    operation: KeyOperation,
    relay_factor: u8,
) -> Result<Vec<PoolKeys>, EndpointError> {
    let pools = keyring.operate(operation, relay_factor).await?;
    let mut wrong = Vec::new();
    for pool in &pools {
        let Some(error) = &pool.error else { continue };
        let name = if pool.wan { "WAN".to_owned() } else { format!("{} (LAN)", pool.datacenter) };
        wrong.push(format!("{name} error: {error}"));
        wrong.extend(pool.messages.iter().map(|(node, message)| format!("{node}: {message}")));
    }
    if wrong.is_empty() { Ok(pools) } else { Err(EndpointError::Refused(several(&wrong))) }
}

/// Several errors as one text, in the form Consul's users know.
pub fn several(errors: &[String]) -> String {
    let mut text = match errors.len() {
        1 => "1 error occurred:\n".to_owned(),
        count => format!("{count} errors occurred:\n"),
    };
    for error in errors {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\t* {error}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<PoolKeys>);

    impl Keyring for Fixed {
        fn operate(&self, _: KeyOperation, _: u8) -> BoxFuture<'_, Result<Vec<PoolKeys>, EndpointError>> {
            let answer = self.0.clone();
            Box::pin(async { Ok(answer) })
        }
    }

    #[test]
    fn what_went_wrong_anywhere_is_told_together() {
        let message = |node: &str, text: &str| BTreeMap::from([(node.to_owned(), text.to_owned())]);
        let wan = PoolKeys {
            wan: true,
            datacenter: "dc1".into(),
            messages: message("s2.dc1", "Keyring is empty (encryption not enabled)"),
            nodes: 1,
            error: Some("1/1 nodes reported failure".into()),
            ..PoolKeys::default()
        };
        let lan = PoolKeys {
            wan: false,
            messages: message("s2", "Keyring is empty (encryption not enabled)"),
            ..wan.clone()
        };
        let list = KeyOperation::List { local_only: false };
        let outcome = futures::executor::block_on(operate(&Fixed(vec![wan, lan.clone()]), list.clone(), 0));
        // As Consul 1.8.7 answers.
        let text = "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* s2.dc1: Keyring is empty \
                    (encryption not enabled)\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* s2: Keyring is \
                    empty (encryption not enabled)\n\n";
        assert_eq!(outcome, Err(EndpointError::Refused(text.into())));
        let fine = PoolKeys { error: None, ..lan };
        let outcome = futures::executor::block_on(operate(&Fixed(vec![fine.clone()]), list, 0));
        assert_eq!(outcome, Ok(vec![fine]));
    }
}
