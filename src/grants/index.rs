//! Address blocks as sorted, disjoint ranges, for one binary search per question. Pure.

use super::ports::Ports;
use crate::address::unmap;
use ipnet::IpNet;
use std::{collections::BTreeMap, net::IpAddr};

/// Both families apart: a block of IPv6 never contains an IPv4 address, though its number might.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Starts and the rest in two arrays: the search touches the first one only.
#[derive(Clone, Debug)]
struct Ranges<T> {
    starts: Vec<T>,
    /// The last address of each range, and its ports.
    rest: Vec<(T, Ports)>,
}

impl Index {
    /// `nets` in their order: by address, a block before those inside it.
    pub fn new(nets: &BTreeMap<IpNet, Ports>) -> Index {
        let mut index = Index::default();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (net, ports) in nets {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits(), ports)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), ports)),
            }
        }
        index.v4.fill(&v4, |n| n.checked_sub(1), |n| n.checked_add(1));
        index.v6.fill(&v6, |n| n.checked_sub(1), |n| n.checked_add(1));
        index
    }

    /// The ports of all blocks around an address; an IPv4-mapped one is its IPv4 address here, too.
    pub fn find(&self, ip: IpAddr) -> Option<&Ports> {
        match unmap(ip) {
            IpAddr::V4(ip) => self.v4.find(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.find(ip.to_bits()),
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    fn find(&self, address: T) -> Option<&Ports> {
        let after = self.starts.partition_point(|start| *start <= address);
        let (last, ports) = self.rest.get(after.checked_sub(1)?)?;
        (address <= *last).then_some(ports)
    }

    fn push(&mut self, first: T, last: T, ports: &Ports) {
        if first <= last {
            self.starts.push(first);
            self.rest.push((last, ports.clone()));
        }
    }

    /// Cuts nested blocks into disjoint ranges, each with the ports of every block around it.
    fn fill(&mut self, blocks: &[(T, T, &Ports)], before: fn(T) -> Option<T>, after: fn(T) -> Option<T>) {
        // The blocks that are open at `from`, the innermost last. `from` is `None` past the last address of all.
        let mut open: Vec<(T, Ports)> = Vec::new();
        let mut from: Option<T> = None;
        for &(first, last, ports) in blocks {
            while let Some((end, around)) = open.pop_if(|(end, _)| *end < first) {
                if let Some(from) = from {
                    self.push(from, end, &around);
                }
                from = after(end);
            }
            let all = match (open.last(), from, before(first)) {
                (Some((_, around)), Some(from), Some(until)) => {
                    self.push(from, until, around);
                    around.join(ports)
                }
                (Some((_, around)), ..) => around.join(ports),
                (None, ..) => ports.clone(),
            };
            from = Some(first);
            open.push((last, all));
        }
        while let Some((end, around)) = open.pop() {
            if let Some(from) = from {
                self.push(from, end, &around);
            }
            from = after(end);
        }
    }
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Ranges { starts: Vec::new(), rest: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_agree_with_the_blocks() {
        let blocks = [
            ("0.0.0.0/0", "1"),
            ("0.0.0.0/32", "2"),
            ("10.0.0.0/8", "3"),
            ("10.0.0.0/16", "4"),
            ("10.0.0.1/32", "5"),
            ("10.255.255.255/32", "6"),
            ("11.0.0.0/8", "3"),
            ("255.255.255.255/32", "7"),
            ("::/0", "8"),
            ("::ffff:0:0/95", "9"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "10"),
        ];
        for keep in 0u32..1 << blocks.len() {
            let kept = blocks.iter().enumerate().filter(|(i, _)| keep >> i & 1 == 1);
            let nets: BTreeMap<IpNet, Ports> = kept
                .map(|(_, (net, port))| (net.parse::<IpNet>().unwrap().trunc(), Ports::parse(port, false).unwrap()))
                .collect();
            let index = Index::new(&nets);
            for ip in [
                "0.0.0.0",
                "0.0.0.1",
                "9.255.255.255",
                "10.0.0.0",
                "10.0.0.1",
                "10.0.0.2",
                "10.1.0.0",
                "10.255.255.255",
                "11.0.0.0",
                "12.0.0.0",
                "255.255.255.254",
                "255.255.255.255",
                "::",
                "::fffe:0:1",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ] {
                let ip: IpAddr = ip.parse().unwrap();
                let around = nets.iter().filter(|(net, _)| net.contains(&ip)).map(|(_, ports)| ports);
                let expected = around.cloned().reduce(|a, b| a.join(&b));
                assert_eq!(index.find(ip), expected.as_ref(), "{ip} in {:?}", nets.keys());
            }
        }
    }
}
