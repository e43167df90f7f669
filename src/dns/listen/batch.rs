//! Datagrams in batches: one system call takes what has arrived, one sends the replies.
//!
//! The only unsafe code of this room: recvmmsg and sendmmsg read and write through the pointers that are set up
//! here, all of them into boxes that a [`Batch`] owns.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_uint, c_void, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_storage, socklen_t};

/// Datagrams per system call.
const BATCH: usize = 16;
/// Longest query that is read whole; what is longer arrives cut off and is answered as broken.
const LONGEST_QUERY: usize = 4096;
/// Room for one control message with an address of ours.
const CONTROL: usize = 64;
/// A reply's buffer that has grown larger than this is let go.
const KEPT: usize = 16 << 10;

/// Control messages begin at the alignment of their head.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Who sent a datagram, and to which of our addresses if that is not known anyway.
#[derive(Clone, Copy)]
pub struct Peer {
    name: sockaddr_storage,
    name_length: socklen_t,
    control: Control,
    control_length: usize,
}

impl Peer {
    const NOBODY: Self = Self {
        // SAFETY: all zeroes are a valid address, of no family.
        #[expect(unsafe_code, reason = "a C struct of numbers")]
        name: unsafe { zeroed() },
        name_length: 0,
        control: Control([0; CONTROL]),
        control_length: 0,
    };

    /// The sender's address; one of IPv4 as such, whichever socket it came by.
    pub fn address(&self) -> Option<SocketAddr> {
        // SAFETY: the kernel has written `name_length` bytes of an address, the rest is zero.
        #[expect(unsafe_code, reason = "the address comes from the kernel")]
        let storage = unsafe {
            socket2::SockAddr::new(std::ptr::read((&raw const self.name).cast()), self.name_length)
        };
        storage.as_socket().map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// Buffers for a batch of datagrams and their replies. Used again and again by one thread.
pub struct Batch {
    queries: Box<[[u8; LONGEST_QUERY]]>,
    lengths: [usize; BATCH],
    replies: [Vec<u8>; BATCH],
    peers: Box<[Peer; BATCH]>,
    /// Where the kernel puts what it receives: into `queries` and `peers`, which never move.
    incoming: Box<[mmsghdr; BATCH]>,
    incoming_vectors: Box<[iovec; BATCH]>,
    /// The first so many of `incoming` were written by the kernel since they were set up.
    used: usize,
    outgoing: Box<[mmsghdr; BATCH]>,
    outgoing_vectors: Box<[iovec; BATCH]>,
    /// The socket tells which address a datagram was sent to.
    with_source: bool,
}

impl Batch {
    /// For a socket that tells the addresses its datagrams were sent to, or for one that does not.
    pub fn new(with_source: bool) -> Self {
        Self {
            queries: vec![[0; LONGEST_QUERY]; BATCH].into_boxed_slice(),
            lengths: [0; BATCH],
            replies: std::array::from_fn(|_| Vec::new()),
            peers: Box::new([Peer::NOBODY; BATCH]),
            incoming: Box::new([NO_HEADER; BATCH]),
            incoming_vectors: Box::new([NO_VECTOR; BATCH]),
            used: BATCH,
            outgoing: Box::new([NO_HEADER; BATCH]),
            outgoing_vectors: Box::new([NO_VECTOR; BATCH]),
            with_source,
        }
    }

    /// Waits for a datagram and takes it and those that have come with it; says how many.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.set_up();
        // SAFETY: `incoming` has BATCH entries, each pointing into boxes of `self`, with their true lengths.
        #[expect(unsafe_code, reason = "recvmmsg takes pointers")]
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.incoming.as_mut_ptr(),
                count(BATCH),
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        // After an error any of them may have been written to.
        self.used = BATCH;
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.used = received;
        let places = self.peers.iter_mut().zip(&mut self.lengths).zip(&mut self.replies);
        for (header, ((peer, length), reply)) in self.incoming.iter().take(received).zip(places) {
            *length = (header.msg_len as usize).min(LONGEST_QUERY);
            peer.name_length = header.msg_hdr.msg_namelen;
            peer.control_length = if self.with_source { header.msg_hdr.msg_controllen } else { 0 };
            reply.clear();
            reply.shrink_to(KEPT);
        }
        Ok(received)
    }

    /// Sets up again what the last batch has used.
    fn set_up(&mut self) {
        let places = self.queries.iter_mut().zip(self.peers.iter_mut());
        let headers = self.incoming.iter_mut().zip(self.incoming_vectors.iter_mut());
        for ((header, vector), (query, peer)) in headers.zip(places).take(self.used) {
            *vector = iovec { iov_base: query.as_mut_ptr().cast(), iov_len: LONGEST_QUERY };
            let message = &mut header.msg_hdr;
            message.msg_name = (&raw mut peer.name).cast();
            message.msg_namelen = socket_length(size_of::<sockaddr_storage>());
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            if self.with_source {
                message.msg_control = peer.control.0.as_mut_ptr().cast();
                message.msg_controllen = CONTROL;
            }
        }
    }

    /// A query of the batch, its sender, and where its reply goes; an empty reply is not sent.
    pub fn query(&mut self, at: usize) -> Option<(&[u8], &Peer, &mut Vec<u8>)> {
        let length = *self.lengths.get(at)?;
        Some((self.queries.get(at)?.get(..length)?, self.peers.get(at)?, self.replies.get_mut(at)?))
    }

    /// Sends the replies to the first `received` queries.
    pub fn send(&mut self, socket: BorrowedFd<'_>, received: usize) {
        let mut filled = 0;
        let replies = self.replies.iter().zip(self.peers.iter_mut()).take(received);
        let headers = self.outgoing.iter_mut().zip(self.outgoing_vectors.iter_mut());
        for ((reply, peer), (header, vector)) in replies.filter(|(reply, _)| !reply.is_empty()).zip(headers) {
            address(&mut header.msg_hdr, vector, reply, peer);
            filled += 1;
        }
        let mut sent = 0;
        while let Some(rest) = self.outgoing.get_mut(sent..filled).filter(|rest| !rest.is_empty()) {
            // SAFETY: each of the headers points to a reply and a peer of `self`, with their true lengths.
            #[expect(unsafe_code, reason = "sendmmsg takes pointers")]
            let count =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count(rest.len()), 0) };
            match usize::try_from(count) {
                Ok(count) => sent += count.max(1),
                // The first of them cannot be sent: its client is out of reach, or it is too long. The client asks again.
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    tracing::debug!(error = %io::Error::last_os_error(), "cannot send a reply");
                    sent += 1;
                }
            }
        }
    }
}

/// Sends one reply without waiting; one that cannot be sent now is lost, as datagrams may be.
pub fn send_one(socket: BorrowedFd<'_>, mut peer: Peer, reply: &[u8]) {
    let mut vector = NO_VECTOR;
    let mut header = NO_HEADER;
    address(&mut header.msg_hdr, &mut vector, reply, &mut peer);
    // SAFETY: the header points to `reply` and `peer`, with their true lengths.
    #[expect(unsafe_code, reason = "sendmsg takes pointers")]
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header.msg_hdr, libc::MSG_DONTWAIT) };
    if sent < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "cannot send a reply");
    }
}

/// Addresses a reply to a peer, from the address of ours it had asked.
fn address(message: &mut msghdr, vector: &mut iovec, reply: &[u8], peer: &mut Peer) {
    *vector = iovec { iov_base: reply.as_ptr().cast_mut().cast::<c_void>(), iov_len: reply.len() };
    message.msg_name = (&raw mut peer.name).cast();
    message.msg_namelen = peer.name_length;
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::null_mut();
    message.msg_controllen = 0;
    if peer.control_length > 0 {
        forget_interface(peer);
        message.msg_control = peer.control.0.as_mut_ptr().cast();
        message.msg_controllen = peer.control_length;
    }
}

/// The reply goes where the routes lead, which need not be the interface the query came in by.
fn forget_interface(peer: &mut Peer) {
    const HEAD: usize = size_of::<cmsghdr>();
    let words = peer.control.0.split_at_mut(HEAD);
    let mut level = [0; 8];
    level.copy_from_slice(&words.0[size_of::<usize>()..]);
    let (level, kind) = level.split_at(4);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, c_int::from_ne_bytes);
    // in_pktinfo: interface, our address, the address asked; in6_pktinfo: the address asked, interface.
    let interface = match (number(level), number(kind)) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => 0..4,
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => 16..20,
        _ => {
            peer.control_length = 0;
            return;
        }
    };
    words.1[interface].fill(0);
}

const NO_VECTOR: iovec = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
// SAFETY: null pointers and zero lengths: nothing is read or written.
#[expect(unsafe_code, reason = "a C struct of pointers and numbers")]
const NO_HEADER: mmsghdr = unsafe { zeroed() };

fn socket_length(length: usize) -> socklen_t {
    socklen_t::try_from(length).unwrap_or(0)
}

fn count(length: usize) -> c_uint {
    c_uint::try_from(length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, UdpSocket};
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use super::super::udp;
    use super::*;

    /// Asks from one address what another one answers, both ends of a batch.
    fn echo_once(bind: &str, ask: &str) -> (Option<IpAddr>, Vec<u8>) {
        let socket = udp::bind(format!("{bind}:0").parse().unwrap(), false, true).unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0")).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(b"one", format!("{ask}:{port}")).unwrap();
        client.send_to(b"two", format!("{ask}:{port}")).unwrap();
        let mut batch = Batch::new(true);
        let mut left = 2;
        while left > 0 {
            let received = batch.receive(socket.as_fd()).unwrap();
            for at in 0..received {
                let (query, peer, reply) = batch.query(at).unwrap();
                assert_eq!(peer.address(), Some(client.local_addr().unwrap()));
                reply.extend_from_slice(query);
                reply.push(b'!');
            }
            batch.send(socket.as_fd(), received);
            left -= received;
        }
        let mut buffer = [0; 16];
        client.recv_from(&mut buffer).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        (Some(from.ip()), buffer[..length].to_vec())
    }

    #[test]
    fn replies_come_from_the_address_that_was_asked() {
        for address in ["127.0.0.1", "127.0.0.77"] {
            let got = echo_once("0.0.0.0", address);
            assert_eq!(got, (address.parse().ok(), b"two!".to_vec()), "{address}");
        }
        let got = echo_once("127.0.0.78", "127.0.0.78");
        assert_eq!(got, ("127.0.0.78".parse().ok(), b"two!".to_vec()));
        if UdpSocket::bind("[::1]:0").is_ok() {
            let got = echo_once("[::]", "127.0.0.79");
            assert_eq!(got, ("127.0.0.79".parse().ok(), b"two!".to_vec()), "both families by one socket");
        }
    }
}
