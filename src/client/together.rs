//! Fetches that share a connection (HTTP/2): each is launched, and goes on when its answer comes, while one thread waits for all of them.

use super::{
    Fetch, Http2, Step, shared,
    state::{Phase, State},
    transaction::Transaction,
};
use crate::{
    deadline::Deadline,
    error::{Kind, Result},
    http::http2::session::Session,
};
use std::{sync::Arc, time::Duration};

/// For how long one of several shared connections is waited for before the others are looked at.
const TURN: Duration = Duration::from_millis(20);

impl Fetch {
    /// Sends the request, as far as that goes without the caller: [`Fetch::step`] goes on from there.
    pub fn launch(&mut self) -> Result<()> {
        while matches!(self.state, State::Open(_) | State::Asking(Phase::Expecting | Phase::Sending, _)) {
            if self.advance()?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// True if its time is up, whatever is here.
    pub fn is_late(&self) -> bool {
        self.errand.deadline.is_past()
    }

    /// True if it begins with a pause, or its server is to be asked for something else than HTTP/2.
    pub fn stands_alone(&self) -> bool {
        let Fetch { state, errand } = self;
        matches!(state, State::Open(Some(_)))
            || errand.http1
            || errand.options.http2 == Http2::Never
            || errand.request.fields().has("upgrade")
    }

    /// Goes on with a request that is out, up to the head of its answer; `None` where it is to be made anew, of which nothing has
    /// been done: after a redirect, a challenge, or a failure that may pass.
    pub fn land(&mut self) -> Result<Option<Step>> {
        loop {
            match self.advance()? {
                None if matches!(self.state, State::Open(_)) => return Ok(None),
                None => (),
                step => return Ok(step),
            }
        }
    }

    /// True if the next [`Fetch::launch`] makes a request anew that may go over the same connection, and at once.
    pub fn stays(&self) -> bool {
        matches!(self.state, State::Open(None)) && !self.errand.retried && !self.errand.http1
    }

    /// Its time is up by [`first_answered`]: it takes what is here, and then says so itself.
    pub fn hurry(&mut self) {
        let patience = self.patience();
        if let Some(transaction) = self.state.transaction_mut() {
            transaction.hurry(patience);
        }
    }

    /// True if its request is under way on a connection that others share.
    pub fn is_shared(&self) -> bool {
        self.state.transaction().is_some_and(|transaction| transaction.shared().is_some())
    }

    /// True if one more request would go out at once on the connection that others share.
    pub fn has_room(&self) -> bool {
        let shared = self.state.transaction().and_then(Transaction::shared);
        shared.is_some_and(|shared| shared.has_room())
    }

    /// The deadline of the wait for more of its answer, the silence so far included.
    fn patience(&self) -> Deadline {
        let Some(limit) = self.errand.options.read_timeout else { return self.errand.deadline.clone() };
        let heard = self.state.transaction().and_then(Transaction::heard).unwrap_or(self.errand.since);
        let silence = Deadline::started(Some(limit), heard);
        match self.errand.deadline.left() {
            Some(left) if silence.left().is_none_or(|silence| left <= silence) => self.errand.deadline.clone(),
            _ => silence,
        }
    }
}

/// Waits until one of those that share the first one's connection can go on with its answer, or its time is up, which is told too: its
/// place. `None` where there is no telling without going on with one.
pub fn first_answered<'a>(fetches: impl Iterator<Item = &'a mut Fetch>) -> Option<(usize, bool)> {
    let mut fetches: Vec<&mut Fetch> = fetches.collect();
    let shared = fetches.first()?.state.transaction()?.shared()?.clone();
    if !shared.is_ours() {
        return None;
    }
    let nearest = fetches.iter().enumerate().min_by_key(|(_, fetch)| fetch.patience().left().unwrap_or(Duration::MAX));
    let (late, deadline) = nearest.map(|(at, fetch)| (at, fetch.patience()))?;
    // Where connections are several, one after the other is looked at.
    let others = |fetch: &&mut Fetch| fetch.state.transaction().and_then(Transaction::shared).cloned();
    let others: Vec<_> = fetches.iter().filter_map(others).filter(|other| !Arc::ptr_eq(other, &shared)).collect();
    loop {
        let mut look = |shared: &Arc<shared::Shared>, session: &mut Session| {
            let mut answered = fetches.iter_mut().map(|fetch| match fetch.state.transaction_mut() {
                Some(transaction) => transaction.look(shared, session),
                None => true,
            });
            answered.position(|answered| answered)
        };
        if let Some(found) = others.iter().find_map(|other| other.glance(|session| look(other, session))) {
            return Some((found, false));
        }
        let wait = deadline.within((!others.is_empty()).then_some(TURN));
        return match shared.wait(&wait, None, |session| Ok(look(&shared, session))) {
            Ok(found) => Some((found, false)),
            Err(fault) if !fault.error.is(Kind::Timeout) => Some((0, true)),
            Err(_) if deadline.is_past() => Some((late, true)),
            Err(_) => continue,
        };
    }
}
