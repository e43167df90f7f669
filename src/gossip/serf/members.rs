//! Members coming and going: what SWIM says of them, and what they say themselves.

use std::sync::Arc;

use bytes::Bytes;

use super::clock::LTime;
use super::layer::{Layer, Urgency, describe};
use super::{Member, Status};
use crate::gossip::effect::{CommandError, Event};
use crate::gossip::swim::broadcast::BroadcastId;
use crate::gossip::swim::{Context, Entry, MAX_NAME};
use crate::gossip::wire::serf::{Join, Leave};

/// A member's name in an intent, if it can be one.
fn name_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|name| (1..=MAX_NAME).contains(&name.len()))
}

impl Layer {
    /// SWIM: a member is new, or lives again.
    pub(super) fn member_lives(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        let Some(member) = describe(&entry.node) else { return };
        let member = self.roster.lives(member, &self.recent);
        self.stats.joined += 1;
        self.journal.alive(&member.name, member.addr, cx.out);
        cx.out.events.push(Event::Joined(member));
    }

    /// SWIM: a member is dead, or left.
    pub(super) fn member_gone(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        let Some(member) = self.roster.gone(entry.node.name.as_bytes(), cx.now) else { return };
        if member.status == Status::Left {
            self.member_left(cx, member);
        } else {
            self.stats.failed += 1;
            self.journal.not_alive(&member.name, cx.out);
            cx.out.events.push(Event::Failed(member));
        }
    }

    /// SWIM: a member says something else of itself.
    pub(super) fn member_updated(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        let Some(member) = describe(&entry.node).and_then(|member| self.roster.updated(member)) else {
            return;
        };
        self.stats.updated += 1;
        cx.out.events.push(Event::Updated(member));
    }

    fn member_left(&mut self, cx: &mut Context<'_>, member: Arc<Member>) {
        self.stats.left += 1;
        self.journal.not_alive(&member.name, cx.out);
        cx.out.events.push(Event::Left(member));
    }

    /// A member was forgotten.
    pub(super) fn reaped(&mut self, cx: &mut Context<'_>, member: Arc<Member>) {
        self.stats.reaped += 1;
        self.vivaldi.forget(&member.name);
        cx.out.events.push(Event::Reaped(member));
    }

    /// A goodbye was heard. Returns whether it is to be told on.
    pub(super) fn hear_leave(&mut self, cx: &mut Context<'_>, leave: &Leave<'_>) -> bool {
        self.clock.witness(leave.ltime);
        let Some(name) = name_of(leave.node).filter(|_| self.clock.believes(leave.ltime)) else {
            self.stats.malformed += 1;
            return false;
        };
        if name == self.roster.local().name && !self.leaving {
            if self.roster.is_news(leave.node, leave.ltime) {
                self.stats.refutes += 1;
                self.say_join(cx);
            }
            return false;
        }
        let heard = self.roster.leave_intent(name, leave.ltime, &mut self.recent, cx.now);
        if let Some(member) = heard.left {
            self.member_left(cx, member);
        }
        if heard.news {
            self.stats.intents += 1;
            if leave.prune {
                self.prune(cx, name);
            }
        }
        heard.news
    }

    /// Forgets a member; one that is about to leave only when it had the time to.
    fn prune(&mut self, cx: &mut Context<'_>, name: &str) {
        if self.roster.get(name.as_bytes()).is_some_and(|member| member.status == Status::Leaving) {
            let delay = self.config.broadcast_timeout + self.config.propagate_delay;
            self.roster.prune_at(name, cx.now + delay);
        } else if let Some(member) = self.roster.erase(name) {
            self.reaped(cx, member);
        }
    }

    /// The word of a member that it is here was heard. Returns whether it is to be told on.
    pub(super) fn hear_join(&mut self, cx: &mut Context<'_>, join: &Join<'_>) -> bool {
        self.clock.witness(join.ltime);
        let Some(name) = name_of(join.node).filter(|_| self.clock.believes(join.ltime)) else {
            self.stats.malformed += 1;
            return false;
        };
        let heard = self.roster.join_intent(name, join.ltime, &mut self.recent, cx.now);
        self.stats.intents += u64::from(heard.news);
        heard.news
    }

    /// A full exchange says that a member left.
    ///
    /// Its time is taken as one later, so that the goodbye wins against the word to be here of the same time.
    /// Where the member is known to have left that would only make two members drive each other's clocks.
    pub(super) fn merge_left(&mut self, cx: &mut Context<'_>, node: &[u8], ltime: LTime) {
        let known = self.roster.get(node).is_some_and(|member| member.status == Status::Left);
        let ltime = if known { ltime } else { ltime.saturating_add(1) };
        self.hear_leave(cx, &Leave { ltime, node, prune: false });
    }

    /// A full exchange says that a member is here, or failed.
    ///
    /// A later time than this member's own about itself comes from a goodbye: of an earlier life, said where its
    /// present one was not heard of. Who believes it takes this member for leaving, and would for ever: it must object.
    pub(super) fn merge_join(&mut self, cx: &mut Context<'_>, node: &[u8], ltime: LTime) {
        let mine = node == self.roster.local().name.as_bytes();
        let object = mine && !self.leaving && self.joining == 0 && self.roster.is_news(node, ltime);
        self.hear_join(cx, &Join { ltime, node });
        if object {
            self.stats.refutes += 1;
            self.say_join(cx);
        }
    }

    /// Tells everybody that this member is here.
    pub(super) fn say_join(&mut self, cx: &mut Context<'_>) {
        let ltime = self.clock.tick();
        let local = self.local();
        self.roster.join_intent(&local.name, ltime, &mut self.recent, cx.now);
        let mut message = Vec::new();
        Join { ltime, node: local.name.as_bytes() }.encode(&mut message);
        self.spread(Urgency::Intent, Bytes::from(message));
    }

    /// Says goodbye for this member. Returns the message to wait for, if there is somebody to tell.
    pub(super) fn say_leave(&mut self, cx: &mut Context<'_>) -> Option<BroadcastId> {
        self.leaving = true;
        self.journal.leave(self.heard(), cx.out);
        let local = self.local();
        self.tell_leave(cx, &local.name, false)
    }

    /// Tells everybody that a member left, and believes it.
    fn tell_leave(&mut self, cx: &mut Context<'_>, name: &str, prune: bool) -> Option<BroadcastId> {
        let leave = Leave { ltime: self.clock.tick(), node: name.as_bytes(), prune };
        self.hear_leave(cx, &leave);
        if !self.roster.has_company() {
            return None;
        }
        let mut message = Vec::new();
        leave.encode(&mut message);
        self.spread(Urgency::Intent, Bytes::from(message))
    }

    /// Makes a failed member a left one, everywhere. A member that is alive objects.
    pub(super) fn force_leave(
        &mut self,
        cx: &mut Context<'_>,
        name: &str,
        prune: bool,
    ) -> Result<(), CommandError> {
        if self.roster.get(name.as_bytes()).is_none() {
            return Err(CommandError::UnknownMember(name.to_owned()));
        }
        self.tell_leave(cx, name, prune);
        Ok(())
    }
}
