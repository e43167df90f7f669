//! What an agent without a state must ask the servers before it can answer.
//!
//! An answer is put together from what is there; whatever it looks for that was not asked yet is noted,
//! asked for together, added to what is there, and the answer is put together anew. Most answers need one
//! question, names that stand for other names one more each.

use std::net::IpAddr;

use futures::future::join_all;

use crate::endpoints::far::{self, Question, Servers, ServiceQuestion};
use crate::endpoints::query::{Consistency, QueryOptions};
use crate::endpoints::service_query::Target;
use crate::state::View;
use crate::state::piece::Piece;

use super::settings::DnsSettings;

/// Most questions one answer may lead to.
const MOST: usize = 32;

/// Something looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A node by its name, folded.
    Node(String),
    /// The instances of a service by its name, folded.
    Service(String),
    /// What serves a name through Connect.
    Connect(String),
    /// All nodes, to find one by its address.
    Nodes,
    /// The instances at an address.
    At(IpAddr),
}

impl Need {
    fn question(&self) -> Question {
        let instances =
            |name: &str, target| Question::Service(Box::new(ServiceQuestion::healthy(name, target)));
        match self {
            Self::Node(name) => Question::NodeServices { node: name.clone(), filter: String::new() },
            Self::Service(name) => instances(name, Target::Service),
            Self::Connect(name) => instances(name, Target::Connect),
            Self::Nodes => {
                let (node_meta, near, filter) = Default::default();
                Question::Nodes { node_meta, near, filter }
            }
            Self::At(ip) => Question::ServicesAt(*ip),
        }
    }
}

/// What was asked, what it gave, and what is to be asked next.
#[derive(Debug, Default)]
pub struct Needs {
    asked: Vec<Need>,
    open: Vec<Need>,
    piece: Piece,
    failed: bool,
}

/// Notes what an answer looks for and was not asked yet.
#[derive(Debug)]
pub struct Lacking<'a> {
    asked: &'a [Need],
    open: &'a mut Vec<Need>,
    failed: &'a mut bool,
}

impl Lacking<'_> {
    /// Whether this was asked; if not it will be.
    pub fn has(&mut self, need: Need) -> bool {
        if *self.failed || self.asked.contains(&need) {
            return true;
        }
        if self.asked.len() + self.open.len() >= MOST {
            tracing::warn!(target: "agent.dns", "an answer needs more of the servers than one may ask them");
            *self.failed = true;
        } else if !self.open.contains(&need) {
            self.open.push(need);
        }
        false
    }
}

impl Needs {
    /// What the servers said, and the place to note what it lacks.
    pub fn split(&mut self) -> (&View, Lacking<'_>) {
        let Self { asked, open, piece, failed } = self;
        (piece.view(), Lacking { asked, open, failed })
    }

    /// Whether they answered everything.
    pub const fn answered(&self) -> bool {
        !self.failed
    }

    /// Whether there is something to ask.
    pub const fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Asks what is open.
    pub async fn fetch(&mut self, servers: &dyn Servers, settings: &DnsSettings) {
        let consistency = if settings.allow_stale { Consistency::Stale } else { Consistency::Default };
        let options = QueryOptions { consistency, max_stale: settings.max_stale, ..QueryOptions::default() };
        let open = std::mem::take(&mut self.open);
        let questions: Vec<Question> = open.iter().map(Need::question).collect();
        let told = join_all(questions.iter().map(|question| far::ask(servers, question, &options))).await;
        for told in told {
            match told {
                Ok((_, piece)) => self.piece.absorb(piece),
                Err(failure) => {
                    tracing::error!(target: "agent.dns", error = %failure, "rpc error");
                    self.failed = true;
                }
            }
        }
        self.asked.extend(open);
    }
}
