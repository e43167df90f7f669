//! The actor: what arrives goes into the core, what the core asks for is done.

use std::collections::{BTreeMap, HashMap};
use std::future::Future as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message};
use tokio::io::ReadBuf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::error;

use super::doors::{OpenDoors, canonical};
use super::handle::{MemberEvent, PoolHandle, Traffic};
use super::measure::Measure;
use super::snapshot_file::lines_of;
use super::streams::{self, Gate, News, NewsSender};
use super::words::{log, log_event};
use super::{Doors, Plan};
use crate::actors::mailbox::Credit;
use crate::actors::supervision::AliveToken;
use crate::gossip::effect::Outputs;
use crate::gossip::serf::{Pool, Status};
use crate::gossip::wire::StreamMessage;
use crate::gossip::{
    Command, CommandError, Coordinate, Done, Event, Exchange, ExchangeError, Input, StreamId, Ticket,
};
use crate::metrics::{Counter, Timer};

/// Largest datagram.
const DATAGRAM: usize = 64 << 10;
/// Datagrams taken in before others get their turn.
const BATCH: usize = 64;
/// Streams accepted before others get their turn.
const ACCEPTS: usize = 16;
/// Errors of a socket in a row after which all sockets are opened anew.
const MAX_ERRORS: u32 = 100;
/// How long a stream may be silent when the configuration does not say.
const LONG: Duration = Duration::from_secs(24 * 3_600);
/// Between two warnings about streams.
const WARN_EVERY: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Done, CommandError>>;

/// Owns a pool. See the module.
pub struct MemberListActor {
    plan: Arc<Plan>,
    handle: PoolHandle,
    first: Option<(Doors, Pool)>,
    open: Option<Open>,
    alive: AliveToken,
}

/// Everything an open pool consists of.
struct Open {
    plan: Arc<Plan>,
    handle: PoolHandle,
    pool: Pool,
    out: Outputs,
    doors: OpenDoors,
    buffer: Box<[u8]>,
    timer: Pin<Box<Sleep>>,
    gate: Gate,
    news: NewsSender,
    heard: mpsc::UnboundedReceiver<News>,
    waiting: BTreeMap<Ticket, Reply>,
    replies: HashMap<StreamId, oneshot::Sender<Vec<u8>>>,
    next_ticket: u64,
    next_stream: u64,
    generation: u64,
    errors: u32,
    measure: Measure,
    warned: Option<Instant>,
}

impl MemberListActor {
    /// With sockets and pool for the first incarnation; later ones make their own.
    pub(super) fn new(
        plan: Arc<Plan>,
        handle: PoolHandle,
        first: Option<(Doors, Pool)>,
        alive: AliveToken,
    ) -> Self {
        Self { plan, handle, first, open: None, alive }
    }

    fn open(&mut self) -> Result<Open, String> {
        let (doors, pool) = if let Some(first) = self.first.take() {
            first
        } else {
            let doors = Doors::bind(self.plan.bind).map_err(|error| error.to_string())?;
            let figures = self.handle.figures();
            let clocks = (figures.member_time, figures.event_time, figures.query_time);
            let known = lines_of(&self.handle.members(), clocks);
            (doors, self.plan.pool(self.handle.current_keys(), Some(known))?)
        };
        let doors = doors.open().map_err(|error| streams::go_text(&error))?;
        let (news, heard) = mpsc::unbounded_channel();
        Ok(Open {
            plan: Arc::clone(&self.plan),
            handle: self.handle.clone(),
            pool,
            out: Outputs::default(),
            doors,
            buffer: vec![0; DATAGRAM].into_boxed_slice(),
            timer: Box::pin(sleep_until(Instant::now())),
            gate: Gate::default(),
            news,
            heard,
            waiting: BTreeMap::new(),
            replies: HashMap::new(),
            next_ticket: 0,
            next_stream: 0,
            generation: 0,
            errors: 0,
            measure: Measure::default(),
            warned: None,
        })
    }
}

impl Open {
    /// One step, and everything it asks for.
    fn step(&mut self, input: Input<'_>) {
        let now = self.plan.now();
        self.pool.step(now, input, &mut self.out);
        self.carry_out();
    }

    /// A step for the first `length` bytes of the buffer.
    fn packet(&mut self, from: SocketAddr, length: usize) {
        let Some(data) = self.buffer.get_mut(..length) else { return };
        self.pool.step(self.plan.now(), Input::Packet { from, data }, &mut self.out);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for (to, bytes) in out.packets.iter() {
            if let Err(error) = self.doors.send(to, bytes) {
                Traffic::count(&self.handle.traffic().datagrams_unsent);
                log!(
                    debug,
                    self.plan.area,
                    memberlist,
                    "memberlist: Failed to send to {to}: {}",
                    streams::go_text(&error)
                );
            }
        }
        for exchange in out.exchanges.drain(..) {
            self.exchange(exchange);
        }
        for reply in out.replies.drain(..) {
            if let Some(stream) = self.replies.remove(&reply.stream) {
                let sent = u64::try_from(reply.bytes.len()).unwrap_or(0);
                self.plan.metrics.add(Counter::MemberlistTcpSent, sent);
                // The stream may have ended meanwhile.
                let _ = stream.send(reply.bytes);
            }
        }
        if !out.snapshot.is_empty()
            && let Some(file) = &self.plan.snapshot
        {
            file.append(&out.snapshot, out.snapshot_anew);
        }
        self.tell(&mut out);
        // Those who wait are answered last: what they asked for is published by then.
        for (ticket, outcome) in out.done.drain(..) {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Whoever asked may have gone.
                let _ = waiting.send(outcome);
            }
        }
        out.clear();
        self.out = out;
    }

    /// Publishes what changed, and tells of it.
    fn tell(&mut self, out: &mut Outputs) {
        let generation = self.pool.generation();
        let former = self.handle.members();
        if generation != self.generation {
            self.generation = generation;
            self.handle.publish_members(&self.pool);
        }
        if out.events.is_empty() {
            return;
        }
        self.handle.publish_figures(&self.pool);
        let subscribers = self.handle.subscribers();
        for event in out.events.drain(..) {
            let before = match &event {
                Event::Left(member) => {
                    former.iter().find(|known| known.name == member.name).map(|known| known.status)
                }
                _ => None,
            };
            log_event(self.plan.area, &event, before);
            if let Event::KeyringChanged(keys) = &event {
                self.handle.publish_keys(keys);
            }
            let event = MemberEvent { area: self.plan.area, event };
            for subscriber in &*subscribers {
                subscriber.send(event.clone());
            }
        }
    }

    fn exchange(&mut self, exchange: Exchange) {
        if let Some(place) = self.gate.leave() {
            self.plan.metrics.count(Counter::MemberlistTcpConnect);
            let sent = u64::try_from(exchange.request.len()).unwrap_or(0);
            self.plan.metrics.add(Counter::MemberlistTcpSent, sent);
            let work = streams::exchange(exchange, self.pool.stream_reader(), self.news.clone(), place);
            actix_rt::spawn(work);
        } else {
            let full = ExchangeError::Io(format!("{} exchanges are under way already", streams::OUTGOING));
            let answer = News::Answer { exchange: exchange.id, result: Err(full), took: Duration::ZERO };
            // Through the channel: this is called from within a step. Its other end is this actor's.
            let _ = self.news.send(answer);
        }
    }

    fn command(&mut self, command: Command, reply: Reply) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiting.insert(ticket, reply);
        self.step(Input::Command(ticket, command));
    }

    fn allowed(&self, from: SocketAddr) -> bool {
        let allowed = &self.plan.allowed;
        let inside = allowed.is_empty() || allowed.iter().any(|network| network.contains(from.ip()));
        if !inside {
            Traffic::count(&self.handle.traffic().not_allowed);
        }
        inside
    }

    /// Takes in datagrams; true if there may be more.
    fn poll_datagrams(&mut self, task: &mut TaskContext<'_>) -> bool {
        for _ in 0..BATCH {
            let mut into = ReadBuf::new(&mut self.buffer);
            match self.doors.udp.poll_recv_from(task, &mut into) {
                Poll::Pending => return false,
                Poll::Ready(Ok(from)) => {
                    self.errors = 0;
                    let (length, from) = (into.filled().len(), canonical(from));
                    if self.allowed(from) {
                        self.packet(from, length);
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.errors += 1;
                    self.warn(&format!("memberlist: Error reading UDP packet: {}", streams::go_text(&error)));
                    if self.errors > MAX_ERRORS {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Accepts streams; true if there may be more.
    fn poll_streams(&mut self, task: &mut TaskContext<'_>) -> bool {
        for _ in 0..ACCEPTS {
            let (stream, from) = match self.doors.tcp.poll_accept(task) {
                Poll::Pending => return false,
                Poll::Ready(Ok(accepted)) => accepted,
                Poll::Ready(Err(error)) => {
                    self.errors += 1;
                    self.warn(&format!(
                        "memberlist: Error accepting TCP connection: {}",
                        streams::go_text(&error)
                    ));
                    // Out of descriptors, most likely: the next round comes with the next timer.
                    return false;
                }
            };
            let from = canonical(from);
            if !self.allowed(from) {
                continue;
            }
            let Some(place) = self.gate.enter(from.ip()) else {
                Traffic::count(&self.handle.traffic().streams_refused);
                self.warn(&format!("memberlist: too many streams, refusing one from={from}"));
                continue;
            };
            self.plan.metrics.count(Counter::MemberlistTcpAccept);
            log!(debug, self.plan.area, memberlist, "memberlist: Stream connection from={from}");
            self.next_stream += 1;
            let (id, limit) = (StreamId(self.next_stream), self.plan.config.swim.tcp_timeout);
            let reader = self.pool.stream_reader();
            actix_rt::spawn(streams::serve(id, from, stream, reader, limit, self.news.clone(), place));
        }
        true
    }

    fn poll_news(&mut self, task: &mut TaskContext<'_>) {
        while let Poll::Ready(Some(news)) = self.heard.poll_recv(task) {
            match news {
                News::Request { stream, from, message, reply } => {
                    self.replies.insert(stream, reply);
                    self.step(Input::Request { stream, from, message });
                    // What was not answered in the same step will not be: the stream is closed.
                    self.replies.remove(&stream);
                }
                News::Answer { exchange, result, took } => {
                    if matches!(result, Ok(StreamMessage::PushPull(_))) {
                        self.plan.metrics.time(Timer::MemberlistPushPull, took);
                    }
                    self.step(Input::Answer { exchange, result });
                }
                News::Dropped { from, reason } => {
                    Traffic::count(&self.handle.traffic().streams_dropped);
                    self.warn(&format!("memberlist: failed to receive: {reason} from={from}"));
                }
            }
        }
    }

    fn poll_timer(&mut self, task: &mut TaskContext<'_>) {
        loop {
            let deadline = self.pool.deadline();
            let due = match self.plan.instant(deadline) {
                Some(due) => Instant::from_std(due),
                None => Instant::now() + LONG,
            };
            if self.timer.deadline() != due {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(task).is_pending() {
                return;
            }
            let (begun, sent) = (Instant::now(), self.pool.swim_stats().packets_out);
            self.step(Input::Tick);
            if self.pool.swim_stats().packets_out != sent {
                self.plan.metrics.time(Timer::MemberlistGossip, begun.elapsed());
            }
            if self.pool.deadline() <= deadline {
                // It is due again already; others come first.
                task.waker().wake_by_ref();
                return;
            }
        }
    }

    /// Strangers can cause these as often as they like.
    fn warn(&mut self, text: &str) {
        let now = Instant::now();
        if self.warned.is_none_or(|last| now.duration_since(last) >= WARN_EVERY) {
            self.warned = Some(now);
            log!(warn, self.plan.area, memberlist, "{text}");
        }
    }
}

/// Runs as long as the actor: everything that arrives.
struct Drive;

impl ActorFuture<MemberListActor> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut MemberListActor,
        context: &mut Context<MemberListActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let Some(open) = &mut actor.open else { return Poll::Ready(()) };
        let mut more = open.poll_datagrams(task);
        open.poll_news(task);
        more |= open.poll_streams(task);
        open.poll_timer(task);
        open.handle.publish_figures(&open.pool);
        open.measure.take(&open.pool, &open.plan.metrics);
        if open.errors > MAX_ERRORS {
            error!(pool = open.plan.area.title(), "the sockets of gossip fail, opening them anew");
            actor.open = None;
            context.stop();
            return Poll::Ready(());
        }
        if more {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Actor for MemberListActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        match self.open() {
            Ok(mut open) => {
                let previous = open.pool.previous_members().to_vec();
                open.tell_of_self();
                self.open = Some(open);
                context.spawn(Drive);
                if !previous.is_empty() {
                    actix_rt::spawn(rejoin(self.plan.area, context.address(), previous));
                }
            }
            Err(reason) => {
                // The supervisor tries again, and waits longer each time.
                error!(error = reason, pool = self.plan.area.title(), "gossip cannot listen again");
                context.stop();
            }
        }
    }
}

impl Open {
    /// Has the first step done, which tells of this member itself.
    fn tell_of_self(&mut self) {
        self.generation = self.pool.generation().wrapping_sub(1);
        self.step(Input::Tick);
    }
}

/// Joins one of the members of an earlier life.
async fn rejoin(area: super::Area, actor: actix::Addr<MemberListActor>, previous: Vec<(String, SocketAddr)>) {
    for (name, address) in previous {
        log!(info, area, serf, "serf: Attempting re-join to previously known node: {name}: {address}");
        let (reply, answer) = oneshot::channel();
        actor.do_send(Join { address, reply });
        match answer.await {
            Ok(Ok(_)) => {
                log!(info, area, serf, "serf: Re-joined to previously known node: {name}: {address}");
                return;
            }
            Ok(Err(error)) => log!(debug, area, serf, "serf: re-join to {name} failed: {error}"),
            // The actor has ended; the next one tries again.
            Err(_) => return,
        }
    }
    log!(warn, area, serf, "serf: Failed to re-join any previously known node");
}

/// Have the pool do something.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Do {
    pub command: Command,
    pub reply: Reply,
    pub _credit: Credit,
}

impl Handler<Do> for MemberListActor {
    type Result = ();

    fn handle(&mut self, message: Do, _: &mut Context<Self>) {
        // Without a pool the waiter is dropped, and told that gossip is gone.
        if let Some(open) = &mut self.open {
            open.command(message.command, message.reply);
        }
    }
}

/// A connection from this address broke.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Doubt {
    pub ip: IpAddr,
    pub _credit: Credit,
}

impl Handler<Doubt> for MemberListActor {
    type Result = ();

    fn handle(&mut self, message: Doubt, _: &mut Context<Self>) {
        if let Some(open) = &mut self.open {
            open.step(Input::Doubt(message.ip));
        }
    }
}

/// Join a member of an earlier life.
#[derive(Message)]
#[rtype(result = "()")]
struct Join {
    address: SocketAddr,
    reply: Reply,
}

impl Handler<Join> for MemberListActor {
    type Result = ();

    fn handle(&mut self, message: Join, _: &mut Context<Self>) {
        if let Some(open) = &mut self.open {
            open.command(Command::Join { address: message.address }, message.reply);
        }
    }
}

/// Where the members are.
#[derive(Message)]
#[rtype(result = "BTreeMap<String, Coordinate>")]
pub(super) struct Coordinates;

impl Handler<Coordinates> for MemberListActor {
    type Result = actix::MessageResult<Coordinates>;

    fn handle(&mut self, _: Coordinates, _: &mut Context<Self>) -> Self::Result {
        let mut known = BTreeMap::new();
        if let Some(open) = &self.open {
            for member in open.pool.members().filter(|member| member.status == Status::Alive) {
                let place = match open.pool.coordinate_of(&member.name) {
                    Some(coordinate) => coordinate.clone(),
                    None if member.name == open.pool.local().name => open.pool.coordinate().clone(),
                    None => continue,
                };
                known.insert(member.name.clone(), place);
            }
        }
        actix::MessageResult(known)
    }
}

/// Close everything, for good.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Quit;

impl Handler<Quit> for MemberListActor {
    type Result = ();

    fn handle(&mut self, _: Quit, context: &mut Context<Self>) {
        self.alive.disarm();
        self.open = None;
        if let Some(file) = &self.plan.snapshot {
            file.flush();
        }
        context.stop();
    }
}
