//! What stands before an actor's mailbox: credits that bound it, and senders that hide its address.
//!
//! An actix mailbox is no bound: `do_send` ignores its capacity, and every clone of an address may
//! put one more message into a full one. So each request that waits in an actor carries a
//! [`Credit`], and whoever gets none is told "busy".

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A fixed number of places before an actor.
#[derive(Debug, Clone)]
pub struct Credits {
    places: Arc<Semaphore>,
}

/// One place, held until it is dropped. It travels inside the message and stays with whoever still
/// works on the request.
#[derive(Debug)]
#[must_use = "a credit that is not kept bounds nothing"]
pub struct Credit {
    _place: OwnedSemaphorePermit,
}

impl Credits {
    /// So many places.
    pub fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// A place if one is free: for requests that are answered "busy" otherwise, and packets that are
    /// dropped.
    pub fn try_take(&self) -> Option<Credit> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|place| Credit { _place: place })
    }

    /// A place once one is free, in order: for work that must not be lost. `None` never happens, as
    /// places are not closed.
    pub async fn take(&self) -> Option<Credit> {
        Arc::clone(&self.places).acquire_owned().await.ok().map(|place| Credit { _place: place })
    }

    /// Free places now.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }
}

/// Where messages of one kind go. Rooms hold this instead of an address.
pub struct Sender<M> {
    send: Arc<dyn Fn(M) + Send + Sync>,
}

impl<M> Sender<M> {
    /// A sender that calls a function, for tests and for hosts without actors.
    pub fn new(send: impl Fn(M) + Send + Sync + 'static) -> Self {
        Self { send: Arc::new(send) }
    }

    /// Sends. A message to an actor that is gone is dropped, with the credit and the waiter in it.
    pub fn send(&self, message: M) {
        (self.send)(message);
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { send: Arc::clone(&self.send) }
    }
}

impl<M> std::fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl<M> From<Recipient<M>> for Sender<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn from(recipient: Recipient<M>) -> Self {
        Self::new(move |message| recipient.do_send(message))
    }
}

impl<A, M> From<Addr<A>> for Sender<M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn from(address: Addr<A>) -> Self {
        Self::new(move |message| address.do_send(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_is_a_place() {
        let credits = Credits::new(2);
        let first = credits.try_take();
        let second = credits.try_take();
        assert!(first.is_some() && second.is_some());
        assert!(credits.try_take().is_none(), "full");
        drop(first);
        assert_eq!(credits.free(), 1);
        assert!(credits.try_take().is_some(), "given back");
    }
}
