//! One fetch, as its callers see it: the caller steps on, passes pieces of the request's body and takes pieces of the response's body.

use super::{
    OP, Options, Timings,
    errand::{Course, Errand},
    pool::Pool,
    state::{Answer, Body, Line, Phase, State},
    upload::{Source, Upload},
};
use crate::{
    deadline::{Deadline, now},
    error::{Error, Kind, Result},
    http::{fields::Fields, record::Record, request::Request, response::Head},
    net::Net,
    tls::PeerCert,
};
use std::{mem, sync::Arc};

/// What [`Fetch::step`] got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next piece of the request's body is asked for: [`Fetch::supply`] it, then step on.
    Piece,
    /// A piece of the request's body went; only where [`Options::paced`] asks for it.
    Sent,
    /// The head of the response is here, and its body can be read.
    Head,
}

/// A request under way, or a response being read. It is small: a script's stays until Lua collects it, long after its end.
/// So it lives in a box, and what few requests need, or what ends with the answer, in further ones.
pub struct Fetch {
    pub(super) state: State,
    pub(super) errand: Errand,
}

impl Fetch {
    /// Nothing happens before the first [`Fetch::step`]. `source` is the body that `request.payload` speaks of.
    pub fn new(
        net: &Net,
        pool: &Pool,
        request: Request,
        source: Option<Source>,
        options: impl Into<Arc<Options>>,
    ) -> Box<Fetch> {
        let (started, options) = (now(), options.into());
        // Written where it stays: `Box::new` would make it elsewhere and move it.
        let place = Box::new_uninit();
        let errand = Errand {
            net: net.clone(),
            pool: pool.clone(),
            deadline: Deadline::started(options.timeout, started),
            auth: options.auth.as_ref().map(|who| Box::new(options.logins.auth(request.url.origin(), who))),
            gateway: None,
            options,
            request,
            upload: source.map(|source| Box::new(Upload::new(source))),
            cert: None,
            chain: Vec::new(),
            timings: Timings::default(),
            started,
            asked: started,
            since: started,
            retried: false,
            http1: false,
            reached: false,
            tries: 0,
            records: Vec::new(),
        };
        Box::write(place, Fetch { state: State::Open(None), errand })
    }

    /// Starts the clock anew, inside `whole`: for a fetch that had to wait for its turn.
    pub fn begin(&mut self, whole: &Deadline) {
        self.errand.deadline = whole.within(self.errand.options.timeout).start();
        self.errand.started = now();
        self.errand.asked = self.errand.started;
    }

    /// Under this deadline, in place of [`Options::timeout`].
    pub fn under(mut self: Box<Self>, deadline: &Deadline) -> Box<Fetch> {
        self.errand.deadline = deadline.clone().start();
        self
    }

    /// Goes on until the response's head is here or a piece of body is asked for.
    pub fn step(&mut self) -> Result<Step> {
        loop {
            if let Some(step) = self.advance()? {
                return Ok(step);
            }
        }
    }

    pub(super) fn advance(&mut self) -> Result<Option<Step>> {
        self.usable()?;
        let Fetch { state, errand } = self;
        // Failed until it is clear how it goes on: a panic on the way leaves no connection in the middle of something.
        let (done, transaction) = match mem::replace(state, State::Failed) {
            State::Open(nap) => match errand.open(nap) {
                Ok((mut transaction, head)) => (errand.start(&mut transaction, head), transaction),
                Err(err) => return self.recover(err),
            },
            State::Asking(phase, mut transaction) => {
                let done = match phase {
                    Phase::Expecting => errand.expect(&mut transaction),
                    Phase::Sending => errand.send(&mut transaction),
                    Phase::Waiting => errand.wait(&mut transaction),
                };
                (done, transaction)
            }
            State::Answered(answer) => {
                let said = match answer.body {
                    Body::Plain(_) | Body::Coded(..) => Ok(Some(Step::Head)),
                    Body::Lost => Err(failed()),
                    Body::Closed => Err(closed(OP)),
                };
                *state = State::Answered(answer);
                return said.map_err(|err| self.fail(err));
            }
            State::Failed => return Err(self.fail(failed())),
            State::Closed => return Err(self.fail(ended())),
        };
        match done {
            Ok(Course::On(phase)) => *state = State::Asking(phase, transaction),
            Ok(Course::Stop(step)) => {
                *state = State::Asking(Phase::Sending, transaction);
                return Ok(Some(step));
            }
            Ok(Course::Head(head)) => match errand.decide(transaction, head) {
                Ok(next) => *state = next,
                Err(err) => return self.recover(err),
            },
            Err(err) if errand.may_retry(&err, &transaction) => *state = errand.anew(&transaction),
            Err(err) => {
                let err = errand.unspoken(err, &transaction);
                return self.recover(err);
            }
        }
        Ok(None)
    }

    /// Goes back after a failure that may pass, if the option `retry` says so; else it has failed.
    fn recover(&mut self, err: Error) -> Result<Option<Step>> {
        match self.errand.wait_after(&err) {
            Some(wait) => {
                self.state = self.errand.again_after(wait);
                Ok(None)
            }
            None => Err(self.fail(err)),
        }
    }

    /// Sends a piece of the request's body; an empty one is its end.
    pub fn supply(&mut self, piece: &[u8]) -> Result<()> {
        let done = self.supply_inner(piece);
        done.map_err(|err| self.fail(err))
    }

    fn supply_inner(&mut self, piece: &[u8]) -> Result<()> {
        self.usable()?;
        let Fetch { state: State::Asking(phase @ Phase::Sending, transaction), errand } = self else {
            return Err(unasked());
        };
        let Some(upload) = &mut errand.upload else { return Err(unasked()) };
        errand.deadline.check("send the body")?;
        upload.given(piece)?;
        let done = transaction.push(piece, &errand.deadline);
        let over = upload.is_over();
        if done.map_err(|err| errand.unspoken(err, transaction))? || over {
            *phase = errand.sent();
        }
        Ok(())
    }

    /// The response's head, once [`Fetch::step`] said so.
    pub fn head(&self) -> Option<&Head> {
        match &self.state {
            State::Answered(answer) => Some(&answer.head),
            _ => None,
        }
    }

    pub fn options(&self) -> &Options {
        &self.errand.options
    }

    /// The request that was answered: after redirects, not the first one.
    pub fn request(&self) -> &Request {
        &self.errand.request
    }

    /// The URLs that answered with a redirect, first to last.
    pub fn chain(&self) -> &[String] {
        &self.errand.chain
    }

    pub fn timings(&self) -> Timings {
        self.errand.timings
    }

    /// True once there was a connection: before that, not a byte of the request has left.
    pub fn reached(&self) -> bool {
        self.errand.reached
    }

    /// The certificate of the server that answered.
    pub fn cert(&self) -> Option<&Arc<PeerCert>> {
        self.errand.cert.as_ref()
    }

    /// Fields after a chunked body; empty until it was read to its end.
    pub fn trailers(&self) -> &Fields {
        static NONE: Fields = Fields::new();
        match &self.state {
            State::Answered(Answer { body: Body::Plain(Line::Ended(Some(trailers))), .. }) => trailers,
            _ => &NONE,
        }
    }

    /// What was asked and answered, hop by hop, where [`Options::record`] asks for it.
    pub fn records(&self) -> &[Record] {
        &self.errand.records
    }

    /// Bytes of the request's body that are on their way, or gone.
    pub fn sent_bytes(&self) -> u64 {
        self.errand.upload.as_deref().map_or(0, Upload::handed)
    }

    /// An error once the capability was revoked, or in a child of the process that made the connection.
    pub(super) fn usable(&self) -> Result<()> {
        self.errand.net.alive()?;
        match self.state.transaction() {
            Some(transaction) if !transaction.is_ours() => {
                Err(Error::new(Kind::Socket, "a request under way works only in the process that began it"))
            }
            _ => Ok(()),
        }
    }

    /// Ends it here, as its reader wishes: what was not read is lost, and the connection with it. Reads find the end.
    pub fn close(&mut self) {
        self.state.close();
    }

    /// Ends it for its reader, who has not asked for that: reads fail from now on, unless the body was read to its end.
    pub fn abandon(&mut self) {
        self.state.abandon();
    }

    pub(super) fn fail(&mut self, err: Error) -> Error {
        self.state.fail();
        self.errand.failed(err)
    }
}

fn failed() -> Error {
    Error::new(Kind::Socket, "the request failed before")
}

/// The error of whoever asks for more of it.
pub fn closed(op: &'static str) -> Error {
    Error::new(Kind::Closed, "the response was closed before its end").op(op)
}

/// The same before there was a response.
pub(super) fn ended() -> Error {
    Error::new(Kind::Closed, "the request was closed before its response").op(OP)
}

fn unasked() -> Error {
    Error::new(Kind::Socket, "no piece of the body was asked for")
}
