//! The states of a fetch. Each owns what is there while it lasts: a connection, a head and a decoder are nowhere else.

use super::transaction::Transaction;
use crate::http::{decode, fields::Fields, response::Head};
use std::time::Duration;

pub(super) enum State {
    /// This hop's request is to be made, after a pause if there is one.
    Open(Option<Duration>),
    /// The request is on its way, or out.
    Asking(Phase, Box<Transaction>),
    /// The answer is the caller's.
    Answered(Answer),
    /// It failed before an answer.
    Failed,
    /// It was ended from outside before an answer.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head is out, and the server is to say whether it wants the body.
    Expecting,
    Sending,
    Waiting,
}

pub(super) struct Answer {
    pub head: Box<Head>,
    /// Bytes of the body, where the server said so: coded ones say nothing.
    pub announced: Option<u64>,
    pub body: Body,
}

pub(super) enum Body {
    /// As the connection gives it: over where that has ended.
    Plain(Line),
    /// Decoded. The decoder may have more to give when the connection has not; then the body is plain, and over.
    Coded(Line, Box<decode::Reader>),
    /// It failed.
    Lost,
    /// Ended from outside before its end.
    Closed,
}

/// What the body comes over.
pub(super) enum Line {
    Open(Box<Transaction>),
    /// The trailers; none without a field.
    Ended(Option<Box<Fields>>),
}

impl State {
    /// The request under way, or the answer that still comes.
    pub fn transaction(&self) -> Option<&Transaction> {
        match self {
            State::Asking(_, transaction) => Some(transaction),
            State::Answered(answer) => match &answer.body {
                Body::Plain(Line::Open(transaction)) | Body::Coded(Line::Open(transaction), _) => Some(transaction),
                _ => None,
            },
            _ => None,
        }
    }

    #[cfg(feature = "http2")]
    pub fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            State::Asking(_, transaction) => Some(transaction),
            State::Answered(answer) => match &mut answer.body {
                Body::Plain(Line::Open(transaction)) | Body::Coded(Line::Open(transaction), _) => Some(transaction),
                _ => None,
            },
            _ => None,
        }
    }

    /// True once the body was read to its end.
    pub fn is_over(&self) -> bool {
        matches!(self, State::Answered(Answer { body: Body::Plain(Line::Ended(_)), .. }))
    }

    /// True if there is more of the body to read.
    pub fn is_reading(&self) -> bool {
        matches!(self, State::Answered(Answer { body: Body::Plain(Line::Open(_)) | Body::Coded(..), .. }))
    }

    pub fn has_failed(&self) -> bool {
        matches!(self, State::Failed | State::Answered(Answer { body: Body::Lost, .. }))
    }

    /// It failed; a head that is here stays.
    pub fn fail(&mut self) {
        match self {
            State::Answered(answer) => answer.body = Body::Lost,
            _ => *self = State::Failed,
        }
    }

    /// Its reader does not want the rest, which is as if it had come.
    pub fn close(&mut self) {
        match self {
            State::Answered(answer) => answer.body.close(),
            State::Asking(..) => *self = State::Closed,
            _ => (),
        }
    }

    /// It ends for its reader, who has not asked for that.
    pub fn abandon(&mut self) {
        match self {
            _ if self.is_over() => (),
            State::Answered(answer) => answer.body = Body::Closed,
            _ => *self = State::Closed,
        }
    }
}

impl Body {
    /// There is no more of it: trailers stay.
    pub fn close(&mut self) {
        if let Body::Plain(line) | Body::Coded(line, _) = self {
            let trailers = match line {
                Line::Open(_) => None,
                Line::Ended(trailers) => trailers.take(),
            };
            *self = Body::Plain(Line::Ended(trailers));
        }
    }
}
