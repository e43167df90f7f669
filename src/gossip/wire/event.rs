//! The payload of Consul's user events, as `consul event` fires them (section 8.4 of the project's notes on
//! the gossip wire).
//!
//! Unlike everything else it is written in today's msgpack, with `str8` and `bin`.
//!
//! May not enter: who may fire, and what is done with an event.

use super::WireError;
use super::msgpack::{Reader, Writer};

/// What the name of a Serf user event begins with that carries this.
pub const EVENT_PREFIX: &str = "consul:event:";
/// The only version there is.
const VERSION: u64 = 1;

/// An event as Consul's API knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsulEvent<'a> {
    /// A UUID.
    pub id: &'a [u8],
    /// Name, without [`EVENT_PREFIX`].
    pub name: &'a [u8],
    /// Opaque bytes.
    pub payload: &'a [u8],
    /// Regular expression of the nodes it is for; empty for all.
    pub node_filter: &'a [u8],
    /// Regular expression of the services it is for; empty for all.
    pub service_filter: &'a [u8],
    /// Regular expression of the tags of these services; empty for all.
    pub tag_filter: &'a [u8],
    /// Version of the protocol; 1.
    pub version: u64,
}

impl<'a> ConsulEvent<'a> {
    /// Reads the payload of a Serf user event.
    ///
    /// # Errors
    /// [`WireError::Short`] or [`WireError::Malformed`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self::default();
        let names: [&[u8]; 7] = [b"ID", b"n", b"p", b"nf", b"sf", b"tf", b"v"];
        Reader::new(payload).structure(&names, |key, value| {
            match key {
                b"ID" => event.id = value.text()?,
                b"n" => event.name = value.text()?,
                b"p" => event.payload = value.text()?,
                b"nf" => event.node_filter = value.text()?,
                b"sf" => event.service_filter = value.text()?,
                b"tf" => event.tag_filter = value.text()?,
                b"v" => event.version = value.number()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }

    /// Appends the payload of a Serf user event, in version 1 whatever [`ConsulEvent::version`] says.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let optional = [self.node_filter, self.payload, self.service_filter, self.tag_filter];
        let mut writer = Writer::new(out);
        writer.map(3 + optional.iter().filter(|field| !field.is_empty()).count());
        writer.text(b"ID").text(self.id).text(b"n").text(self.name);
        if !self.node_filter.is_empty() {
            writer.text(b"nf").text(self.node_filter);
        }
        if !self.payload.is_empty() {
            writer.text(b"p").binary(self.payload);
        }
        if !self.service_filter.is_empty() {
            writer.text(b"sf").text(self.service_filter);
        }
        if !self.tag_filter.is_empty() {
            writer.text(b"tf").text(self.tag_filter);
        }
        writer.text(b"v").unsigned(VERSION);
    }
}
