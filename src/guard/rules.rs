//! The rules of a guard, and their decision about a request.
//!
//! Rules are found by host, so that their number does not matter: exact ones first, then `*.example.com`, each in their
//! order. They add up: the first rule that allows the request, by its first route that does, decides. A policy is asked
//! only about hosts without a rule.

use super::{
    index::Index,
    path::{self, Segments},
    pattern::{Params, Pattern, Shared, one},
};
use crate::{
    address::{Host, Name, Reach, TWO_LABELS},
    error::{Error, Kind},
    http::{
        Invalid,
        request::Method,
        url::{Fault, HttpUrl, Origin, Scheme},
    },
    panics::failpoint,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// What one guard may have of each.
pub const MAX_RULES: usize = 10_000;
pub const MAX_ROUTES: usize = 100_000;
pub const MAX_PORTS: usize = 1000;
pub const MAX_METHODS: usize = 100;
/// The longest URL that is looked at, in bytes.
pub const MAX_URL: usize = 128 * 1024;

/// A rule as its author writes it.
#[derive(Clone, Debug, Default)]
pub struct RuleSpec {
    /// A host, or `*.example.com`: exactly one label more.
    pub host: String,
    /// `http` is refused.
    pub https_only: bool,
    /// Defaults to 443, without `https_only` to 80 and 443.
    pub ports: Option<Vec<i64>>,
    /// Defaults to every path; an empty list is no path.
    pub routes: Option<Vec<RouteSpec>>,
}

#[derive(Clone, Debug, Default)]
pub struct RouteSpec {
    pub path: String,
    /// Defaults to every method.
    pub methods: Option<Vec<String>>,
}

/// A rule that says nothing clear: the key that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule {
    pub key: String,
    pub why: String,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

impl std::error::Error for BadRule {}

/// Why a request does not pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The rules say no.
    Refused(Error),
    /// A wrong argument (1: the URL, 2: the method).
    Wrong(usize, Invalid),
}

/// What a request that passes is, in the form that is sent.
#[derive(Clone, Debug)]
pub struct Decision<'r> {
    /// From 1; 0 where no rule covers the host, and the policy decides.
    pub rule: usize,
    /// From 1; 0 where the rule has no routes.
    pub route: usize,
    /// Names and their bytes, as they stand in the path.
    pub params: Vec<(&'r str, String)>,
    /// Without fragment; parsed again, it is sent as it stands here.
    pub url: String,
    pub origin: Origin,
    pub path: String,
}

/// The rules of one guard, compiled. Nothing changes them.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    exact: HashMap<Host, Covered>,
    /// By what follows the star and its dot.
    below: HashMap<Name, Covered>,
    has_policy: bool,
}

/// The rules of one host, and where to find their routes.
#[derive(Debug, Default)]
struct Covered {
    rules: Vec<usize>,
    index: Index,
}

#[derive(Debug)]
struct Rule {
    https_only: bool,
    ports: Vec<u16>,
    routes: Option<Vec<Route>>,
}

#[derive(Debug)]
struct Route {
    pattern: Pattern,
    methods: Option<Arc<[Method]>>,
}

impl Rules {
    /// Checks and compiles every rule. `has_policy` says that hosts without a rule are asked about elsewhere; without
    /// it they are refused.
    pub fn new(specs: &[RuleSpec], has_policy: bool) -> Result<Rules, BadRule> {
        let mut rules = Rules { has_policy, ..Rules::default() };
        let (mut shared, mut methods) = (Shared::new(), HashSet::new());
        if specs.len() > MAX_RULES {
            return bad("rules", format!("more than {MAX_RULES} rules"));
        }
        let routes: usize = specs.iter().filter_map(|spec| spec.routes.as_ref()).map(Vec::len).sum();
        if routes > MAX_ROUTES {
            return bad("rules", format!("more than {MAX_ROUTES} routes"));
        }
        for (index, spec) in specs.iter().enumerate() {
            let key = format!("rules[{}]", index + 1);
            let (star, name) = match spec.host.strip_prefix("*.") {
                Some(parent) => (true, parent),
                None => (false, &*spec.host),
            };
            if name.contains('*') {
                let why = "`*` stands for exactly one label, the first: `*.example.com`";
                return bad(format!("{key}.host"), why);
            }
            let covered = match Host::parse(name).or_else(|why| bad(format!("{key}.host"), why))? {
                Host::Name(name) if star && !name.as_str().contains('.') => {
                    return bad(format!("{key}.host"), TWO_LABELS);
                }
                Host::Name(name) if star => rules.below.entry(name).or_default(),
                Host::Ip(_) if star => return bad(format!("{key}.host"), "an address has no labels for `*`"),
                host => rules.exact.entry(host).or_default(),
            };
            let mut rule = Rule::new(&key, spec, &mut shared)?;
            for own in rule.routes.iter_mut().flatten().filter_map(|route| route.methods.as_mut()) {
                *own = one(&mut methods, Arc::clone(own));
            }
            covered.rules.push(index);
            match &rule.routes {
                None => covered.index.add(index, None),
                Some(routes) => {
                    for (nth, route) in routes.iter().enumerate() {
                        covered.index.add(index, Some((nth, &route.pattern)));
                    }
                }
            }
            rules.rules.push(rule);
        }
        Ok(rules)
    }

    /// The hosts of the rules, and their ports, which add up. `None`: any host, since a policy is asked about those without a rule.
    pub fn hosts(&self) -> Option<impl Iterator<Item = (Reach, &[u16])>> {
        let exact = self.exact.iter().map(|(host, covered)| (Reach::Host(host.clone()), covered));
        let below = self.below.iter().map(|(name, covered)| (Reach::Children(name.clone()), covered));
        let each = exact.chain(below).flat_map(|(reach, covered)| {
            let rules = covered.rules.iter().filter_map(|index| self.rules.get(*index));
            rules.map(move |rule| (reach.clone(), &*rule.ports))
        });
        (!self.has_policy).then_some(each)
    }

    /// Decides about one request. `url` and `method` are an untrusted caller's.
    pub fn decide(&self, url: &[u8], method: &[u8]) -> Result<Decision<'_>, Refusal> {
        let (text, parsed) = read(url)?;
        failpoint("decision");
        let method = Method::parse(method).map_err(|why| Refusal::Wrong(2, why))?.into_upper_case();
        let origin = parsed.origin();
        let refuse =
            |kind, why: String| Err(Refusal::Refused(Error::new(kind, why).at(origin.host.to_string(), origin.port)));
        let path = match path::refuse(text).and_then(|()| path::canonical(parsed.path())) {
            Ok(path) => path,
            Err(why) => {
                return refuse(Kind::RequestNotAllowed, format!("the path of the URL {why}, which guards refuse"));
            }
        };
        let segments = Segments::of(&path);
        let covering = self.covering(&origin.host);
        let passed = covering.iter().flatten().find_map(|covered| self.pass(covered, origin, &segments, &method));
        let (rule, route, params) = match passed {
            Some(passed) => passed,
            None => match self.refusal(&covering, origin, &segments) {
                None if self.has_policy => (0, 0, Vec::new()),
                None => {
                    let why = format!("no rule of the guard covers {0}; one with `host = \"{0}\"` would", origin.host);
                    return refuse(Kind::HostNotAllowed, why);
                }
                Some(why) => return refuse(why.kind(), why.message(origin, &method)),
            },
        };
        let mut url = [origin.scheme.name(), "://", parsed.authority(), &path].concat();
        if let Some(query) = parsed.query() {
            url.extend(["?", query]);
        }
        Ok(Decision {
            rule,
            route,
            params: params.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            url,
            origin: origin.clone(),
            path: path.into_owned(),
        })
    }

    /// The rules about a host, exact ones first.
    fn covering(&self, host: &Host) -> [Option<&Covered>; 2] {
        let parent = host.name().and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        [self.exact.get(host), parent.and_then(|parent| self.below.get(parent))]
    }

    /// The first rule and route that a request passes, by their numbers, and the parameters.
    fn pass<'p>(
        &self,
        covered: &Covered,
        origin: &Origin,
        path: &Segments<'p>,
        method: &Method,
    ) -> Option<(usize, usize, Params<'_, 'p>)> {
        covered.index.find(path).find_map(|(index, nth)| {
            let rule = &self.rules[index];
            rule.reached(origin).ok()?;
            let Some(nth) = nth else { return Some((index + 1, 0, Vec::new())) };
            let route = rule.routes.as_ref()?.get(nth)?;
            if !route.methods.as_ref().is_none_or(|methods| methods.contains(method)) {
                return None;
            }
            Some((index + 1, nth + 1, route.pattern.find(path)?))
        })
    }

    /// What stands against a request that does not pass, in the rule that it comes furthest in; none without a rule.
    fn refusal<'r>(&'r self, covering: &[Option<&'r Covered>], origin: &Origin, path: &Segments<'_>) -> Option<No<'r>> {
        let rules = covering.iter().flatten().flat_map(|covered| &covered.rules).map(|index| &self.rules[*index]);
        let furthest = rules.map(|rule| rule.reached(origin).err().unwrap_or(No::Path)).max()?;
        let method = furthest == No::Path
            && covering.iter().flatten().flat_map(|covered| covered.index.find(path)).any(|(index, nth)| {
                let rule = &self.rules[index];
                let route = rule.routes.as_ref().zip(nth).and_then(|(routes, nth)| routes.get(nth));
                rule.reached(origin).is_ok() && route.is_some_and(|route| route.pattern.find(path).is_some())
            });
        Some(if method { No::Method } else { furthest })
    }
}

impl Rule {
    fn new(key: &str, spec: &RuleSpec, shared: &mut Shared) -> Result<Rule, BadRule> {
        let ports = match &spec.ports {
            None if spec.https_only => vec![443],
            None => vec![80, 443],
            Some(ports) if ports.is_empty() => return bad(format!("{key}.ports"), "names no port"),
            Some(ports) if ports.len() > MAX_PORTS => {
                return bad(format!("{key}.ports"), format!("more than {MAX_PORTS} ports"));
            }
            Some(ports) => {
                let port = |(index, port): (usize, &i64)| match u16::try_from(*port) {
                    Ok(port) if port > 0 => Ok(port),
                    _ => bad(format!("{key}.ports[{}]", index + 1), format!("must be 1 to 65535, got {port}")),
                };
                ports.iter().enumerate().map(port).collect::<Result<_, _>>()?
            }
        };
        let route =
            |(index, spec): (usize, &RouteSpec)| Route::new(&format!("{key}.routes[{}]", index + 1), spec, shared);
        let routes = match &spec.routes {
            Some(routes) => Some(routes.iter().enumerate().map(route).collect::<Result<_, _>>()?),
            None => None,
        };
        Ok(Rule { https_only: spec.https_only, ports, routes })
    }

    /// Whether a request gets to the routes.
    fn reached(&self, origin: &Origin) -> Result<(), No<'_>> {
        if self.https_only && origin.scheme == Scheme::Http {
            return Err(No::Scheme);
        }
        match self.ports.contains(&origin.port) {
            true => Ok(()),
            false => Err(No::Port(&self.ports)),
        }
    }
}

impl Route {
    fn new(key: &str, spec: &RouteSpec, shared: &mut Shared) -> Result<Route, BadRule> {
        let pattern = Pattern::parse(&spec.path, shared).or_else(|why| bad(format!("{key}.path"), why))?;
        let Some(methods) = &spec.methods else { return Ok(Route { pattern, methods: None }) };
        let key = format!("{key}.methods");
        if methods.is_empty() {
            return bad(key, "names no method; without `methods` a route takes any");
        }
        if methods.len() > MAX_METHODS {
            return bad(key, format!("more than {MAX_METHODS} methods"));
        }
        let method = |(index, text): (usize, &String)| match Method::parse(text.as_bytes()) {
            Ok(method) if method.as_str() != "*" => Ok(method.into_upper_case()),
            Ok(_) => bad(format!("{key}[{}]", index + 1), "is `*`; without `methods` a route takes any method"),
            Err(why) => bad(format!("{key}[{}]", index + 1), why),
        };
        Ok(Route { pattern, methods: Some(methods.iter().enumerate().map(method).collect::<Result<_, _>>()?) })
    }
}

/// What stands against a request; the later ones had passed more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum No<'r> {
    Scheme,
    Port(&'r [u16]),
    Path,
    Method,
}

impl No<'_> {
    fn kind(self) -> Kind {
        match self {
            No::Port(_) => Kind::PortNotAllowed,
            _ => Kind::RequestNotAllowed,
        }
    }

    /// Never the path: middleware may have put a token there.
    fn message(self, origin: &Origin, method: &Method) -> String {
        let Origin { host, port, .. } = origin;
        match self {
            No::Scheme => {
                format!("the guard allows https only for {host}; `https_only = false` in its rule would allow http")
            }
            No::Port(ports) => {
                let shown: Vec<String> = ports.iter().take(8).map(u16::to_string).collect();
                let more = if ports.len() > shown.len() { ", …" } else { "" };
                let shown = shown.join(", ");
                format!("the guard does not allow port {port} of {host}; its rule has `ports = {{ {shown}{more} }}`")
            }
            No::Path => format!("no route of the guard's rule for {host} covers the path of this URL"),
            No::Method => {
                format!("the guard's routes for this path of {host} do not have {method} among their `methods`")
            }
        }
    }
}

fn bad<T>(key: impl Into<String>, why: impl ToString) -> Result<T, BadRule> {
    Err(BadRule { key: key.into(), why: why.to_string() })
}

/// Reads an untrusted URL. What is no URL is a wrong argument; one that is, but that no guard fetches, is refused.
fn read(bytes: &[u8]) -> Result<(&str, HttpUrl), Refusal> {
    let wrong = |why: String| Err(Refusal::Wrong(1, Invalid(why)));
    if bytes.len() > MAX_URL {
        return wrong(format!("URL is longer than {MAX_URL} bytes"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return wrong("URL is not UTF-8".into()) };
    match HttpUrl::read(text) {
        Ok(url) => Ok((text, url)),
        Err((fault, why)) => match fault {
            Fault::Malformed => Err(Refusal::Wrong(1, why)),
            Fault::Host => Err(Refusal::Refused(Error::new(Kind::HostNotAllowed, why.0))),
            Fault::Scheme | Fault::Credentials => Err(Refusal::Refused(Error::new(Kind::RequestNotAllowed, why.0))),
        },
    }
}
