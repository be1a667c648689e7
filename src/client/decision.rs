//! The decision after the head of an answer, from what was asked and what came. Pure: no connection, no clock, no chance.

use super::Options;
use crate::{
    error::Result,
    http::{
        body::Framing,
        broken,
        decode::Decoder,
        redirect::{self, Hop},
        request::Request,
        response::Head,
    },
};
use std::time::Duration;

/// What the head is an answer to.
pub struct Attempt<'a> {
    pub request: &'a Request,
    pub options: &'a Options,
    /// The request has no body, or one that can be sent from its beginning.
    pub again: bool,
    /// There are credentials for what the head asks for.
    pub challenged: bool,
    /// Redirects until now.
    pub hops: usize,
    /// Tries that the option `retry` added.
    pub tries: u32,
    /// Until the deadline; none for ever.
    pub left: Option<Duration>,
    /// The body's, by that head.
    pub framing: Option<Framing>,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// The answer is the caller's; its body is coded where there is a decoder.
    Answer(Option<Decoder>),
    Redirect(Hop),
    /// The request again, with credentials.
    Authenticate,
    /// The request again: the server does not know the expectation (RFC 9110, section 15.5.18).
    WithoutExpect,
    /// The request again, after a pause.
    Retry(Duration),
}

impl Attempt<'_> {
    /// `chance` is the time since 1970 and any number, for a pause.
    pub fn after(&self, head: &Head, chance: impl FnOnce() -> (Duration, u32)) -> Result<Next> {
        let Attempt { request, options, .. } = self;
        if self.challenged {
            return Ok(Next::Authenticate);
        }
        if head.status == 417 && self.again && request.fields().lists("expect", "100-continue") {
            return Ok(Next::WithoutExpect);
        }
        if options.follow_redirects
            && redirect::is_redirect(head.status)
            && let Some(hop) = redirect::next(request, head, &options.redirects)?
        {
            if self.hops >= options.max_redirects {
                return Err(broken(format!("more than {} redirects", options.max_redirects)));
            }
            if hop.crossed && options.unix.is_some() {
                return Err(broken("the redirect leads to another origin, away from the socket of the option `unix`"));
            }
            return Ok(Next::Redirect(hop));
        }
        let retry = options.retry.as_ref().filter(|_| self.again && request.method.is_idempotent());
        let wait = retry.and_then(|retry| {
            let (wall, dice) = chance();
            retry.after_answer(head, self.tries, wall, dice)
        });
        // A wait that would end past the deadline is not begun.
        if let Some(wait) = wait.filter(|wait| self.left.is_none_or(|left| *wait < left)) {
            return Ok(Next::Retry(wait));
        }
        let coded = options.decompress && head.status != 206 && self.framing != Some(Framing::Empty);
        Ok(Next::Answer(if coded { Decoder::new(&head.fields)? } else { None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        fields::Fields,
        request::{Method, Payload},
        response::Version,
        retry::Retry,
        url::HttpUrl,
    };

    fn request(method: &str, body: bool, fields: &[(&str, &str)]) -> Request {
        let payload = body.then_some(Payload { length: Some(1), content_type: None, replayable: true });
        let url = HttpUrl::parse("http://example.com/a").unwrap();
        let mut request = Request::new(Method::parse(method.as_bytes()).unwrap(), url, payload);
        for (name, value) in fields {
            request.field(name.as_bytes(), value.as_bytes()).unwrap();
        }
        request
    }

    fn said(attempt: &Attempt<'_>, status: u16, fields: &[(&str, &str)]) -> String {
        let mut head = Head { version: Version::Http11, status, reason: Default::default(), fields: Fields::new() };
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        match attempt.after(&head, || (Duration::ZERO, u32::MAX)) {
            Ok(Next::Answer(decoder)) => if decoder.is_some() { "decode" } else { "answer" }.into(),
            Ok(Next::Redirect(hop)) => format!("redirect to {}", hop.request.url.to_text()),
            Ok(Next::Authenticate) => "authenticate".into(),
            Ok(Next::WithoutExpect) => "without expect".into(),
            Ok(Next::Retry(wait)) => format!("retry after {wait:?}"),
            Err(err) => err.fields().message.clone(),
        }
    }

    #[test]
    fn what_comes_after_a_head() {
        let retry = Some(Retry { backoff: Duration::from_secs(2), ..Retry::default() });
        let plain = || Options { retry: retry.clone(), ..Options::default() };
        let (get, post) = (request("GET", false, &[]), request("POST", true, &[]));
        let expecting = request("PUT", true, &[("Expect", "100-continue")]);
        let away: &[_] = &[("Location", "http://example.org/b")];
        let near: &[_] = &[("Location", "/b")];
        let gzip: &[_] = &[("Content-Encoding", "gzip")];
        type Row<'a> = (&'a str, &'a Request, u16, &'a [(&'a str, &'a str)], fn(&mut Options), &'a str);
        let rows: &[Row<'_>] = &[
            ("an answer", &get, 200, &[], |_| (), "answer"),
            ("an error is one, too", &get, 404, &[], |_| (), "answer"),
            ("a coded body", &get, 200, gzip, |_| (), "decode"),
            ("a coded body, as it is", &get, 200, gzip, |options| options.decompress = false, "answer"),
            ("a part of a coded body", &get, 206, gzip, |_| (), "answer"),
            ("a redirect", &get, 302, near, |_| (), "redirect to http://example.com/b"),
            ("a redirect that is not followed", &get, 302, near, |options| options.follow_redirects = false, "answer"),
            ("a redirect to nowhere", &get, 302, &[], |_| (), "answer"),
            ("a redirect too many", &get, 302, near, |options| options.max_redirects = 1, "more than 1 redirects"),
            ("to another origin", &get, 307, away, |_| (), "redirect to http://example.org/b"),
            (
                "away from a socket",
                &get,
                307,
                away,
                |options| options.unix = Some("/s".into()),
                "the redirect leads to another origin, away from the socket of the option `unix`",
            ),
            ("an expectation", &expecting, 417, &[], |_| (), "without expect"),
            ("no expectation", &post, 417, &[], |_| (), "answer"),
            ("a server that is busy", &get, 503, &[], |_| (), "retry after 2s"),
            ("that says when", &get, 503, &[("Retry-After", "1")], |_| (), "retry after 1s"),
            ("that says too late a time", &get, 503, &[("Retry-After", "9")], |_| (), "answer"),
            ("for what is not done twice", &post, 503, &[], |_| (), "answer"),
            ("without the option", &get, 503, &[], |options| options.retry = None, "answer"),
        ];
        for (name, request, status, fields, change, expected) in rows {
            let mut options = plain();
            change(&mut options);
            let attempt = Attempt {
                request,
                options: &options,
                again: true,
                challenged: false,
                hops: 1,
                tries: 0,
                left: Some(Duration::from_secs(5)),
                framing: Some(Framing::Length(1)),
            };
            assert_eq!(said(&attempt, *status, fields), *expected, "{name}");
            assert_eq!(said(&Attempt { challenged: true, ..attempt }, *status, fields), "authenticate", "{name}");
        }
        let attempt = Attempt {
            request: &expecting,
            options: &plain(),
            again: false,
            challenged: false,
            hops: 0,
            tries: 0,
            left: None,
            framing: Some(Framing::Empty),
        };
        assert_eq!(said(&attempt, 417, &[]), "answer", "a body that is gone");
        assert_eq!(said(&attempt, 503, &[]), "answer", "a body that is gone");
        assert_eq!(said(&attempt, 200, gzip), "answer", "no body");
    }
}
