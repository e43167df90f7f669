//! Records and replies before they are written.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::message::{rcode, rtype};
use super::settings::SoaTimes;
use super::zones::Zones;

/// Whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The name of the question, as it is spelled there.
    Question,
    /// The target of an SRV record of the answer, by position.
    Target(usize),
    /// This name, in wire form.
    Name(Cow<'a, [u8]>),
}

/// What a record says. Names are in wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// An address.
    Ip(IpAddr),
    /// CNAME, NS or PTR, by type.
    Name(u16, Cow<'a, [u8]>),
    /// SRV; its priority is always 1.
    Srv {
        /// Weight.
        weight: u16,
        /// Port.
        port: u16,
        /// Host.
        target: Cow<'a, [u8]>,
    },
    /// TXT, any length.
    Txt(Vec<u8>),
    /// SOA of the own domain.
    Soa {
        /// Server and mailbox.
        zones: &'a Zones,
        /// Version: the seconds since 1970.
        serial: u32,
        /// The rest.
        times: SoaTimes,
    },
    /// A record of another server, by type, without pointers in it.
    Raw(u16, Vec<u8>),
}

impl Data<'_> {
    /// The record's type.
    pub fn rtype(&self) -> u16 {
        match self {
            Self::Ip(IpAddr::V4(_)) => rtype::A,
            Self::Ip(IpAddr::V6(_)) => rtype::AAAA,
            Self::Name(rtype, _) | Self::Raw(rtype, _) => *rtype,
            Self::Srv { .. } => rtype::SRV,
            Self::Txt(_) => rtype::TXT,
            Self::Soa { .. } => rtype::SOA,
        }
    }

    /// Bytes of the data without any pointer.
    pub fn length(&self) -> usize {
        match self {
            Self::Ip(IpAddr::V4(_)) => size_of::<Ipv4Addr>(),
            Self::Ip(IpAddr::V6(_)) => size_of::<Ipv6Addr>(),
            Self::Name(_, name) => name.len(),
            Self::Srv { target, .. } => 6 + target.len(),
            Self::Txt(text) => text.len() + text.len().div_ceil(255).max(1),
            Self::Soa { zones, .. } => zones.soa_server.len() + zones.soa_mailbox.len() + 20,
            Self::Raw(_, data) => data.len(),
        }
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whose it is.
    pub owner: Owner<'a>,
    /// Seconds it may be kept.
    pub ttl: u32,
    /// What it says.
    pub data: Data<'a>,
}

impl Record<'_> {
    /// The record by itself, once it is no longer an answer to the question for `name`. None for those
    /// that only make sense there.
    pub fn detached(self, name: &[u8]) -> Option<Record<'static>> {
        let owner = match self.owner {
            Owner::Question => name.to_vec(),
            Owner::Name(owner) => owner.into_owned(),
            Owner::Target(_) => return None,
        };
        let data = match self.data {
            Data::Ip(ip) => Data::Ip(ip),
            Data::Name(rtype, name) => Data::Name(rtype, Cow::Owned(name.into_owned())),
            Data::Txt(text) => Data::Txt(text),
            Data::Raw(rtype, data) => Data::Raw(rtype, data),
            Data::Srv { .. } | Data::Soa { .. } => return None,
        };
        Some(Record { owner: Owner::Name(Cow::Owned(owner)), ttl: self.ttl, data })
    }
}

/// Whose words a reply is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// From the own zones: AA.
    #[default]
    Own,
    /// About recursors that failed or are missing: RA.
    Recursors,
    /// Nobody's: the query was not for this server, and not even its EDNS is looked at.
    Nobody,
}

/// A reply before it is written.
#[derive(Debug, Default)]
pub struct Reply<'a> {
    /// Response code.
    pub rcode: u8,
    /// Whose words they are.
    pub source: Source,
    /// Answers.
    pub answer: SmallVec<[Record<'a>; 4]>,
    /// Authority.
    pub authority: SmallVec<[Record<'a>; 1]>,
    /// Additional records, EDNS left out.
    pub additional: SmallVec<[Record<'a>; 4]>,
    /// For SRV answers: to which answer each additional record belongs.
    pub belongs: SmallVec<[u32; 4]>,
    /// The answers are cut to these limits.
    pub limits: Option<Limits>,
}

/// Limits of an answer about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most answers.
    pub count: usize,
    /// There were more, and they count as they would without name compression.
    pub struck: bool,
    /// There were more than were collected.
    pub more: bool,
}

impl Reply<'_> {
    /// Nothing but a response code.
    pub fn of(rcode: u8) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// REFUSED, as foreign names are without recursors.
    pub fn refused() -> Self {
        Self { source: Source::Nobody, ..Self::of(rcode::REFUSED) }
    }

    /// SERVFAIL where recursors were, or would have been, needed.
    pub fn recursion_failed() -> Self {
        Self { source: Source::Recursors, ..Self::of(rcode::SERVFAIL) }
    }
}
