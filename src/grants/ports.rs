//! A set of ports as sorted, disjoint, non-adjacent ranges, so that equal sets are equal values. Pure.

use std::{fmt, sync::Arc};

/// Inclusive at both ends.
type Span = (u16, u16);

/// A set of ports. Small on purpose: there is one for each of 100,000 grants, and nearly all of them are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Ports {
    #[default]
    None,
    One(u16, u16),
    /// Two ranges or more.
    Many(Arc<Vec<Span>>),
}

impl Ports {
    /// Every port that can be connected to.
    pub const CONNECT: Ports = Ports::One(1, u16::MAX);
    /// Every port that can be bound: 0 stands for "an ephemeral port".
    pub const LISTEN: Ports = Ports::One(0, u16::MAX);

    /// Reads `80`, `80-90`, `80+443+8000-8100`: decimal, no sign, no leading zero. Port 0 stands alone and only where
    /// `zero` allows it: it means "an ephemeral port", so no range reaches it.
    pub fn parse(text: &str, zero: bool) -> Result<Ports, String> {
        let mut spans = Vec::new();
        for item in text.split('+') {
            spans.push(match item.split_once('-') {
                None => {
                    let port = number(item)?;
                    if port == 0 && !zero {
                        return Err("port 0 cannot be connected to".into());
                    }
                    (port, port)
                }
                Some((low, high)) => {
                    let (low, high) = (number(low)?, number(high)?);
                    if low == 0 {
                        return Err("a port range starts at 1 (port 0 stands alone)".into());
                    }
                    if low > high {
                        return Err(format!("the port range {low}-{high} runs backwards"));
                    }
                    (low, high)
                }
            });
        }
        Ok(Ports::of(spans))
    }

    /// These ports.
    pub fn list(ports: &[u16]) -> Ports {
        Ports::of(ports.iter().map(|port| (*port, *port)).collect())
    }

    fn of(mut spans: Vec<Span>) -> Ports {
        spans.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for (low, high) in spans {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        match merged[..] {
            [] => Ports::None,
            [(low, high)] => Ports::One(low, high),
            _ => Ports::Many(merged.into()),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Ports::None)
    }

    pub fn contains(&self, port: u16) -> bool {
        match self {
            Ports::None => false,
            Ports::One(low, high) => (*low..=*high).contains(&port),
            Ports::Many(spans) => {
                let after = spans.partition_point(|span| span.0 <= port);
                after.checked_sub(1).and_then(|i| spans.get(i)).is_some_and(|span| port <= span.1)
            }
        }
    }

    fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let (one, many) = match self {
            Ports::None => (None, &[][..]),
            Ports::One(low, high) => (Some((*low, *high)), &[][..]),
            Ports::Many(spans) => (None, &spans[..]),
        };
        one.into_iter().chain(many.iter().copied())
    }

    pub fn join(&self, other: &Ports) -> Ports {
        match (self, other) {
            (Ports::None, some) | (some, Ports::None) => some.clone(),
            _ if self == other => self.clone(),
            _ => Ports::of(self.spans().chain(other.spans()).collect()),
        }
    }

    pub fn meet(&self, other: &Ports) -> Ports {
        if self == other {
            return self.clone();
        }
        let both = |a: Span| {
            other.spans().filter_map(move |b| {
                let (low, high) = (a.0.max(b.0), a.1.min(b.1));
                (low <= high).then_some((low, high))
            })
        };
        Ports::of(self.spans().flat_map(both).collect())
    }

    /// The ports of this set that are not in `other`.
    pub fn without(&self, other: &Ports) -> Ports {
        let mut rest = Vec::new();
        let mut next = Some(0);
        for (low, high) in other.spans() {
            if let Some(from) = next
                && from < low
            {
                rest.push((from, low - 1));
            }
            next = high.checked_add(1);
        }
        rest.extend(next.map(|from| (from, u16::MAX)));
        self.meet(&Ports::of(rest))
    }
}

fn number(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Err("a port is missing".into());
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("port {} is not a decimal number", crate::address::quoted(text)));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("port {} has a leading zero", crate::address::quoted(text)));
    }
    text.parse().map_err(|_| format!("port {} is above 65535", crate::address::quoted(text)))
}

impl fmt::Display for Ports {
    /// As a flag has it: `80+443+8000-8100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plus = "";
        for (low, high) in self.spans() {
            // Adjacent ranges are one, yet 0 is written apart: no range of a flag starts there.
            let parts = if low == 0 && high > 0 { [Some((0, 0)), Some((1, high))] } else { [Some((low, high)), None] };
            for (low, high) in parts.into_iter().flatten() {
                match low == high {
                    true => write!(f, "{plus}{low}")?,
                    false => write!(f, "{plus}{low}-{high}")?,
                }
                plus = "+";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_one_form() {
        for (text, zero, expected) in [
            ("80", false, Ok("80")),
            ("80-90", false, Ok("80-90")),
            ("80-80", false, Ok("80")),
            ("443+80", false, Ok("80+443")),
            ("80+81+82-90", false, Ok("80-90")),
            ("80+443+8000-8100", false, Ok("80+443+8000-8100")),
            ("1-65535", false, Ok("1-65535")),
            ("65535+65534", false, Ok("65534-65535")),
            ("0", true, Ok("0")),
            ("0+1-5", true, Ok("0+1-5")),
            ("0", false, Err("port 0")),
            ("0-5", true, Err("starts at 1")),
            ("", false, Err("missing")),
            ("80+", false, Err("missing")),
            ("80++81", false, Err("missing")),
            ("-80", false, Err("missing")),
            ("80-", false, Err("missing")),
            ("80-85-90", false, Err("decimal")),
            ("90-80", false, Err("backwards")),
            ("+80", false, Err("missing")),
            ("0443", false, Err("leading zero")),
            ("00", true, Err("leading zero")),
            ("65536", false, Err("65535")),
            ("99999999999999999999", false, Err("65535")),
            ("8o", false, Err("decimal")),
            ("８０", false, Err("decimal")),
            ("*", false, Err("decimal")),
        ] {
            match (Ports::parse(text, zero), expected) {
                (Ok(ports), Ok(form)) => assert_eq!(ports.to_string(), form, "{text}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn set_arithmetic_agrees_with_membership() {
        let texts = ["1", "80", "65535", "80-90", "85-100+443", "1-65535", "1-79+81-65535", "80+82+84+65535"];
        let mut sets: Vec<Ports> = texts.iter().map(|text| Ports::parse(text, false).unwrap()).collect();
        sets.extend([Ports::None, Ports::LISTEN]);
        let probes = [0, 1, 2, 79, 80, 81, 82, 83, 84, 85, 90, 91, 100, 101, 442, 443, 444, 65534, 65535];
        for a in &sets {
            for b in &sets {
                for port in probes {
                    let (in_a, in_b) = (a.contains(port), b.contains(port));
                    assert_eq!(a.join(b).contains(port), in_a || in_b, "{a} ∪ {b}: {port}");
                    assert_eq!(a.meet(b).contains(port), in_a && in_b, "{a} ∩ {b}: {port}");
                    assert_eq!(a.without(b).contains(port), in_a && !in_b, "{a} \\ {b}: {port}");
                }
                assert_eq!(a.join(b), b.join(a));
                assert_eq!(a.meet(b), b.meet(a));
            }
        }
    }
}
