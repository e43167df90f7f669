//! A network of its own for a cluster: a namespace for every member, all on one bridge that leads
//! nowhere else, and the test in a namespace beside them.
//!
//! A way from one member to another is cut by telling the first a wrong hardware address of the
//! second: what it sends is lost without a word, the other direction works on. That needs no packet
//! filter in the kernel. Making namespaces needs root.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The network.
pub struct Net {
    names: Vec<String>,
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Net {
    /// Makes a network for so many members, and moves this thread (and what it starts) into it. The
    /// text says why there can be none.
    pub fn new(members: usize) -> Result<Self, String> {
        let id = std::process::id();
        let hub = format!("trb-{id}-hub");
        let mut net = Self { names: vec![hub.clone()] };
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add br0 type bridge"))?;
        ip(&format!("-n {hub} addr add 10.213.0.254/24 dev br0"))?;
        ip(&format!("-n {hub} link set br0 up"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        for at in 0..members {
            let name = format!("trb-{id}-{at}");
            ip(&format!("netns add {name}"))?;
            net.names.push(name.clone());
            ip(&format!("-n {hub} link add v{at} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {hub} link set v{at} master br0 up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", Self::address(at)))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
        }
        let file = std::fs::File::open(format!("/run/netns/{hub}")).map_err(|error| error.to_string())?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("this thread cannot move: {error}"))?;
        Ok(net)
    }

    /// Address of a member.
    pub fn address(at: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, 0, u8::try_from(at + 1).expect("few members"))
    }

    /// Where the members run, for the cluster's setup.
    pub fn places(&self) -> Vec<(Ipv4Addr, Vec<String>)> {
        let words = |name: &String| ["ip", "netns", "exec", name].map(str::to_owned).to_vec();
        self.names[1..].iter().enumerate().map(|(at, name)| (Self::address(at), words(name))).collect()
    }

    /// Nothing gets from one to the other any more.
    pub fn cut(&self, from: usize, to: usize) {
        let (name, to) = (&self.names[from + 1], Self::address(to));
        ip(&format!("-n {name} neigh replace {to} lladdr 02:00:00:00:00:ff nud permanent dev eth0")).unwrap();
    }

    /// Everything gets everywhere.
    pub fn heal(&self) {
        for (from, name) in self.names[1..].iter().enumerate() {
            for to in (0..self.names.len() - 1).filter(|to| *to != from) {
                // Mostly there is nothing to take back.
                ip(&format!("-n {name} neigh del {} dev eth0", Self::address(to))).ok();
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}")).ok();
        }
    }
}
