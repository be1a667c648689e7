//! The ends of records in a stream of bytes (RFC 8446, section 5.1), for a reader that must take no byte beyond.

/// Bytes in a record's head: type, version, length.
const HEAD: usize = 5;

/// Follows a stream of records.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    head: [u8; HEAD],
    /// How much of the head is there.
    have: usize,
    /// How much of the body is not.
    body: usize,
}

impl Gauge {
    /// How many bytes the head that is arriving lacks, or the body behind it; at least 1.
    pub fn missing(&self) -> usize {
        if self.body > 0 { self.body } else { HEAD - self.have }
    }

    /// These bytes arrived.
    pub fn arrived(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(self.missing().min(bytes.len()));
            bytes = rest;
            if self.body > 0 {
                self.body -= now.len();
                continue;
            }
            if let Some(to) = self.head.get_mut(self.have..self.have + now.len()) {
                to.copy_from_slice(now);
            }
            self.have += now.len();
            if self.have == HEAD {
                let [.., high, low] = self.head;
                (self.have, self.body) = (0, usize::from(u16::from_be_bytes([high, low])));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_bodies_in_pieces_of_any_size() {
        let stream: Vec<u8> =
            [(22u8, 300usize), (20, 1), (23, 0), (23, 16640)].into_iter().fold(Vec::new(), |mut all, (kind, size)| {
                all.extend([kind, 3, 3]);
                all.extend(u16::try_from(size).unwrap().to_be_bytes());
                all.extend(vec![0xff; size]);
                all
            });
        for step in [1, 2, 3, 7, 304, 305, 306, 20_000] {
            let mut gauge = Gauge::default();
            stream.chunks(step).for_each(|piece| gauge.arrived(piece));
            assert_eq!((gauge.missing(), gauge.have, gauge.body), (HEAD, 0, 0), "{step}");
        }
        let mut gauge = Gauge::default();
        gauge.arrived(&stream[..5]);
        assert_eq!(gauge.missing(), 300);
        gauge.arrived(&stream[5..304]);
        assert_eq!(gauge.missing(), 1);
        gauge.arrived(&stream[304..307]);
        assert_eq!(gauge.missing(), 3);
    }
}
