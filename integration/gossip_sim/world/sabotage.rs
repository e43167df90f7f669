//! Faults put into the core on purpose, to see that the properties notice: a wrapper around what nodes send.
//!
//! Only plain text can be sabotaged.

use rand_chacha::ChaCha12Rng;
use tribune::gossip::wire::serf::SerfMessage;
use tribune::gossip::wire::{
    Alive, Crypto, Message, PacketReader, PacketWriter, StreamMessage, StreamReader, encode_stream,
};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nobody objects to what is said of it: a higher incarnation of oneself is never sent.
    Submission,
    /// Nobody announces its goodbye: Serf's leave intents are never sent.
    Silence,
    /// Nobody tries failed members again: exchanges that join are never sent.
    Resentment,
}

impl Sabotage {
    /// Takes out of a packet what is not to be sent.
    pub fn packet(self, sender: &[u8], bytes: &[u8], rng: &mut ChaCha12Rng) -> Vec<u8> {
        let crypto = Crypto::plain();
        let (mut reader, mut writer) = (PacketReader::default(), PacketWriter::default());
        let (mut data, mut out) = (bytes.to_vec(), Vec::new());
        let mut builder = writer.begin(&mut out, 65_000, &crypto);
        let report = reader.read(&mut data, &crypto, |message| {
            let dropped = match (self, message) {
                (Self::Submission, Message::Alive(Alive { node, incarnation, .. })) => {
                    node == sender && incarnation > 1
                }
                (Self::Silence, Message::User(bytes)) => {
                    matches!(SerfMessage::decode(bytes), Ok(SerfMessage::Leave(_)))
                }
                _ => false,
            };
            if !dropped {
                builder.message(&message);
            }
        });
        report.expect("what nodes send can be read");
        builder.finish(false, false, rng);
        out
    }

    /// The same for a stream; `None` if nothing of it may be sent.
    pub fn stream(self, sender: &[u8], bytes: &[u8], rng: &mut ChaCha12Rng) -> Option<Vec<u8>> {
        let crypto = Crypto::plain();
        let message = StreamReader::new(crypto.clone()).push(bytes).expect("what nodes send can be read")?;
        let StreamMessage::PushPull(mut state) = message else { return Some(bytes.to_vec()) };
        match self {
            Self::Submission => {
                for node in state.nodes.iter_mut().filter(|node| node.name[..] == *sender) {
                    node.incarnation = 1;
                }
            }
            Self::Resentment if state.join => return None,
            Self::Silence | Self::Resentment => {}
        }
        let mut out = Vec::new();
        encode_stream(&StreamMessage::PushPull(state), false, &crypto, rng, &mut out);
        Some(out)
    }
}
