//! The declared needs of a script (`requires`), compared with the grants. Pure.

use super::{
    Grants, UsageError, flags,
    layer::{Layer, flag},
    ports::Ports,
    set::{Pattern, Rule},
};
use crate::address::{Host, Special, special};
use std::{collections::BTreeSet, net::IpAddr};

/// What one `--allow-net` grants, as a script's requirement.
#[derive(Clone, Debug, PartialEq)]
pub struct Need(Rule);

impl Need {
    /// Any host, any port: what the bare `--allow-net` grants.
    pub fn any() -> Need {
        Need((Pattern::Any, Ports::CONNECT))
    }

    /// The values of one `--allow-net=`, as a comma list.
    pub fn parse(list: &str) -> Result<Vec<Need>, UsageError> {
        flags::needs(list).map(|rules| rules.into_iter().map(Need).collect())
    }
}

impl Grants {
    /// The flags that would allow those of `requires` that are not allowed whole, in their order. What a deny rule refuses is
    /// among them, though only taking that rule away would help; a deny rule about a part of it is not looked at: who needs
    /// any host does without those that are denied.
    #[doc(hidden)]
    pub fn missing(&self, requires: &[Need]) -> Vec<String> {
        let flat = self.flat();
        let mut seen = BTreeSet::new();
        let lacking = requires.iter().filter(|need| !flat.meets(&need.0));
        lacking.map(|need| flag("--allow-net", need.0.clone())).filter(|flag| seen.insert(flag.clone())).collect()
    }
}

impl Layer {
    /// Whether all that a rule is about is granted, and it is not denied whole.
    fn meets(&self, (pattern, ports): &Rule) -> bool {
        match pattern {
            Pattern::Unix(path, _) => self.net.unix(path).is_some() && self.deny.unix(path).is_none(),
            Pattern::UnixIn(_) => self.net.has_directory(pattern) && !self.deny.has_directory(pattern),
            _ => {
                let named = matches!(pattern, Pattern::Name(_) | Pattern::Child(_) | Pattern::Below(_));
                let denied = self.denied_whole(pattern);
                (self.dns || !named) && ports.without(&self.net.reach(pattern).without(&denied)).is_empty()
            }
        }
    }

    /// The ports that are denied for all of a pattern.
    fn denied_whole(&self, pattern: &Pattern) -> Ports {
        let of = |ip: IpAddr| self.denied_ports(&Host::Ip(ip));
        match pattern {
            // `private` is about all of a block whose ends are special addresses of one kind.
            Pattern::Net(net) => {
                let (first, last) = (net.network(), net.broadcast());
                let kind = |ip| special(ip).map(Special::kind);
                match first == last || (kind(first).is_some() && kind(first) == kind(last)) {
                    true => of(first).meet(&of(last)),
                    false => self.deny.reach(pattern),
                }
            }
            pattern => self.deny.reach(pattern),
        }
    }
}
