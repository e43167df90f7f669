//! The state machine: applies committed commands in batches and publishes the result.
//!
//! One batch is one atomic write to the store, with the applied index in it, then one new snapshot
//! for readers, then the wakes. Applying is a function of the stored state, the index and the
//! command alone; a batch that is replayed after a crash finds its entries applied and skips them.

use std::io::Read;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::command::{Command, CommandKind, Envelope, Outcome};
use super::read::{Gate, StateReader};
use super::snapshot::{self, SnapshotError};
use super::store::WriteStore;
use super::view::View;
use super::watch::{Touched, Watches};
use super::writer::{Abort, Event, Writer};
use super::{StateError, apply_autopilot, apply_catalog, apply_kv, apply_sessions, apply_txn, restore, rows};

/// The owner of the state. There is one per server, and only it writes.
pub struct StateMachine {
    store: Box<dyn WriteStore>,
    view: Arc<View>,
    published: Arc<ArcSwap<View>>,
    watches: Arc<Watches>,
    gate: Arc<Gate>,
    /// Index of the snapshot whose installation failed: the store is not to be used any more.
    half_installed: Option<u64>,
}

/// What a batch gave back.
#[derive(Debug, Default)]
pub struct Applied {
    /// One outcome per entry, in order; `None` for entries that were applied before.
    pub outcomes: Vec<Option<Outcome>>,
    /// Which commands were applied, in order.
    pub kinds: Vec<CommandKind>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl StateMachine {
    /// Loads the state from its store.
    ///
    /// # Errors
    /// [`StateError::Store`], [`StateError::Corrupt`] or [`StateError::HalfInstalled`]; the server must
    /// not start.
    pub fn open(store: Box<dyn WriteStore>) -> Result<Self, StateError> {
        let view = Arc::new(rows::load(&*store)?);
        let published = Arc::new(ArcSwap::new(Arc::clone(&view)));
        Ok(Self {
            store,
            view,
            published,
            watches: Arc::default(),
            gate: Arc::default(),
            half_installed: None,
        })
    }

    /// Log index of the last applied command.
    pub fn applied_index(&self) -> u64 {
        self.view.applied
    }

    /// A handle for readers.
    pub fn reader(&self) -> StateReader {
        StateReader::new(
            Arc::clone(&self.published),
            self.store.reader(),
            Arc::clone(&self.watches),
            Arc::clone(&self.gate),
        )
    }

    /// The working view; equal to the published one between batches.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Applies entries in log order, writes them in one batch, publishes and wakes. Empty data is
    /// an entry without a command (a new leader's first, or a membership change): only the index moves.
    ///
    /// # Errors
    /// [`StateError::UnknownCommand`] or a store failure; nothing of the batch is visible then but for what
    /// comes before a restore in it, and the server must stop.
    pub fn apply<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Applied, StateError> {
        self.apply_answering(entries, |_| ())
    }

    /// As [`StateMachine::apply`]; `published` is called with the outcomes once they are visible and
    /// before anybody is woken, so that whoever proposed a write does not wait behind the thousands
    /// that wait for it.
    ///
    /// # Errors
    /// As [`StateMachine::apply`]; `published` is not called then.
    pub fn apply_answering<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
        published: impl FnOnce(&mut Vec<Option<Outcome>>),
    ) -> Result<Applied, StateError> {
        if let Some(index) = self.half_installed {
            return Err(StateError::HalfInstalled { index });
        }
        let mut applied = Applied::default();
        let mut touched = Vec::new();
        let before = self.view.applied;
        let mut replaced = false;
        let mut writer = Writer::new(&*self.store, (*self.view).clone());
        for (index, data) in entries {
            if index <= writer.log_index {
                applied.outcomes.push(None);
                continue;
            }
            let envelope = if data.is_empty() { None } else { Some(Envelope::decode(data)?) };
            applied.kinds.extend(envelope.as_ref().map(|envelope| envelope.command.kind()));
            let outcome = match &envelope {
                None => {
                    writer.advance(index);
                    Outcome::Done
                }
                Some(Envelope { command: Command::RestoreFinish(command), now_ms }) => {
                    // Its pieces are read from the store: those of this batch must lie there first.
                    settle(&*self.store, writer, &mut self.view, &mut applied.events, &mut touched)?;
                    let finish = restore::finish(&*self.store, &self.view, index, command)?;
                    let outcome = match finish {
                        restore::Finish::Replaced(view, changes) => {
                            self.store.write(&changes)?;
                            self.view = Arc::new(*view);
                            applied.events.push(Event::Replaced);
                            replaced = true;
                            Outcome::Done
                        }
                        restore::Finish::Refused(text) => Outcome::Refused(text),
                    };
                    writer = Writer::new(&*self.store, (*self.view).clone());
                    if !matches!(outcome, Outcome::Done) {
                        writer.advance(index);
                        writer.now_ms = *now_ms;
                        restore::abort(&mut writer, &command.id);
                    }
                    outcome
                }
                Some(envelope) => {
                    writer.advance(index);
                    writer.now_ms = envelope.now_ms;
                    run(&mut writer, &envelope.command)?
                }
            };
            applied.outcomes.push(Some(outcome));
        }
        settle(&*self.store, writer, &mut self.view, &mut applied.events, &mut touched)?;
        if self.view.applied == before {
            published(&mut applied.outcomes);
            return Ok(applied);
        }
        self.published.store(Arc::clone(&self.view));
        published(&mut applied.outcomes);
        if replaced {
            self.watches.wake_all();
        } else {
            self.watches.wake(&touched);
        }
        Ok(applied)
    }

    /// Replaces the whole state by a snapshot ([`snapshot::write`]), publishes it and wakes everybody;
    /// answers its applied index. Meanwhile and after a failure keys cannot be read; the catalog is
    /// read from the old view.
    ///
    /// # Errors
    /// With [`SnapshotError::NotASnapshot`], [`SnapshotError::Version`] or a stream that ends within
    /// its head nothing has happened. After every other error the state is void and the server must
    /// stop; the store says so when it is opened.
    pub fn install(&mut self, from: impl Read) -> Result<u64, SnapshotError> {
        let from = snapshot::Reader::open(from)?;
        let index = from.index();
        self.gate.close();
        self.half_installed = Some(index);
        snapshot::install(&*self.store, from)?;
        self.view = Arc::new(rows::load(&*self.store)?);
        self.published.store(Arc::clone(&self.view));
        self.half_installed = None;
        self.gate.open();
        self.watches.wake_all();
        Ok(index)
    }

    /// Makes everything applied so far survive a crash of the machine; the log may be cut below
    /// the index returned.
    ///
    /// # Errors
    /// [`StateError::Store`]; the server must stop.
    pub fn make_durable(&self) -> Result<u64, StateError> {
        self.store.make_durable()?;
        Ok(self.view.applied)
    }
}

/// Writes what a batch has come to, if anything.
fn settle(
    store: &dyn WriteStore,
    writer: Writer<'_>,
    view: &mut Arc<View>,
    events: &mut Vec<Event>,
    touched: &mut Touched,
) -> Result<(), StateError> {
    if writer.log_index == view.applied {
        return Ok(());
    }
    let finished = writer.finish()?;
    store.write(&finished.changes)?;
    events.extend(finished.events);
    touched.extend(finished.touched);
    *view = Arc::new(finished.view);
    Ok(())
}

/// Applies one command; a refused one leaves nothing behind.
fn run(writer: &mut Writer<'_>, command: &Command) -> Result<Outcome, StateError> {
    let done = |outcome: Result<(), Abort>| outcome.map(|()| Outcome::Done);
    // Commands of one step fail before they change anything; only these need a way back.
    let savepoint = match command {
        Command::Register(_) | Command::Deregister(_) | Command::SessionCreate(_) => Some(writer.savepoint()),
        _ => None,
    };
    let outcome = match command {
        Command::Kv(command) => apply_kv::apply(writer, command).map(Outcome::Bool),
        Command::Register(command) => done(apply_catalog::register(writer, command)),
        Command::Deregister(command) => done(apply_catalog::deregister(writer, command)),
        Command::SessionCreate(session) => done(apply_sessions::create(writer, session)),
        Command::SessionDestroy { id } => done(apply_sessions::end(writer, id)),
        Command::Txn(operations) => apply_txn::apply(writer, operations),
        Command::ReapTombstones { up_to } => {
            apply_sessions::forget_lock_delays(writer);
            restore::forget_stale(writer);
            done(writer.exhume(*up_to).map_err(Abort::from))
        }
        Command::UpdateCoordinates(updates) => {
            apply_catalog::set_coordinates(writer, updates);
            Ok(Outcome::Done)
        }
        Command::RestoreChunk(command) => restore::chunk(writer, command),
        Command::RestoreAbort { id } => Ok(restore::abort(writer, id)),
        // Replaces the state below the batch; whoever runs the batch does it.
        Command::RestoreFinish(_) => Ok(Outcome::Refused("a restore within a batch".into())),
        Command::Autopilot { config, cas } => Ok(Outcome::Bool(apply_autopilot::set(writer, config, *cas))),
    };
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(Abort::Refused(text)) => {
            if let Some(savepoint) = savepoint {
                writer.rollback(savepoint);
            }
            Ok(Outcome::Refused(text))
        }
        Err(Abort::Failed(error)) => Err(error),
    }
}
