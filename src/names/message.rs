//! Messages of the DNS (RFC 1035 section 4), written and read by hickory's codec. Here is what a message means to a
//! question that was asked. Pure.

use super::{ask::Fault, record::Type};
use crate::allocation;
use hickory_resolver::proto::{
    op::{DnsResponse, Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};

/// The size of an answer over UDP that EDNS says can be received (RFC 9715).
const PAYLOAD: u16 = 1232;

/// What a message takes in memory once it is read, for each of its bytes.
const RECORDS: usize = 64;

/// One question as it is sent.
pub struct Question {
    id: u16,
    query: Query,
    edns: bool,
}

/// What a server said to a question.
pub struct Answer {
    pub code: ResponseCode,
    pub records: Vec<Record>,
    /// For how long there is nothing, by the SOA among the authorities (RFC 2308 section 5).
    pub negative: Option<u32>,
    /// The authorities name other servers.
    pub refers: bool,
}

/// What a datagram, or a message over TCP, is.
pub enum Heard {
    /// None of ours: another id, another question. The answer may still come.
    Stray,
    /// Cut off: to be asked for over TCP.
    Truncated,
    Answer(Answer),
}

impl Question {
    /// `id`: of random bytes, since it is what keeps others from answering. `edns`: with an OPT record (RFC 6891).
    pub fn new(id: u16, name: Name, kind: Type, edns: bool) -> Question {
        Question { id, query: Query::query(name, kind.wire()), edns }
    }

    /// The message.
    pub fn bytes(&self) -> Result<Vec<u8>, Fault> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            message.set_edns(edns);
        }
        message.to_vec().map_err(|e| Fault::Other(e.to_string()))
    }

    /// Reads what came. The id and the question are compared before anything else can fail: a message without them is
    /// nobody's answer, however malformed it is.
    pub fn hear(&self, bytes: &[u8]) -> Result<Heard, Fault> {
        let mut from = BinDecoder::new(bytes);
        let Some(header) = Header::read(&mut from).ok().filter(|header| header.id == self.id) else {
            return Ok(Heard::Stray);
        };
        let is_ours = header.counts.queries == 1 && Query::read(&mut from).is_ok_and(|query| query == self.query);
        match header.message_type {
            _ if !is_ours => return Ok(Heard::Stray),
            MessageType::Response if header.truncation => return Ok(Heard::Truncated),
            _ => {}
        }
        // Records of the smallest size take so many times their bytes, and hickory cannot be told that there is no memory.
        let memory = bytes.len() * RECORDS;
        if !allocation::has(memory) {
            return Err(Fault::Known(allocation::no_memory(memory)));
        }
        let response = DnsResponse::from_buffer(bytes.to_vec()).map_err(malformed)?;
        if response.all_sections().any(|record| record.dns_class != DNSClass::IN) {
            return Err(malformed("a record is of another class"));
        }
        Ok(Heard::Answer(Answer {
            code: response.response_code,
            negative: response.negative_ttl(),
            refers: response.authorities.iter().any(|record| record.record_type() == RecordType::NS),
            records: response.into_message().answers,
        }))
    }
}

pub fn malformed(why: impl ToString) -> Fault {
    Fault::Malformed(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let plain = "12 34 01 00 00 01 00 00 00 00 00 00 01 78 04 74 65 73 74 00 00 0f 00 01";
        let rows = [
            ("x.test.", false, plain.to_owned()),
            (
                "x.test.",
                true,
                plain.replacen("00 00 00 01 78", "00 00 01 01 78", 1) + " 00 00 29 04 d0 00 00 00 00 00 00",
            ),
            (".", false, "12 34 01 00 00 01 00 00 00 00 00 00 00 00 0f 00 01".to_owned()),
        ];
        for (text, edns, expected) in rows {
            let name = Name::from_ascii(text).unwrap();
            let bytes = Question::new(0x1234, name, Type::Mx, edns).bytes().unwrap();
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn messages() {
        let question = Question::new(0x1234, Name::from_ascii("x.test.").unwrap(), Type::A, false);
        let asked = question.bytes().unwrap();
        let answer = |flags: [u8; 2], counts: [u8; 3], rest: &[u8]| {
            let mut out = asked.clone();
            out[2..4].copy_from_slice(&flags);
            (out[7], out[9], out[11]) = (counts[0], counts[1], counts[2]);
            out.extend(rest);
            out
        };
        let with = |place: usize, byte: u8, mut message: Vec<u8>| {
            message[place] = byte;
            message
        };
        let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
        let ns = b"\0\0\x02\0\x01\0\0\0\x3c\0\x01\0";
        let opt = b"\0\0\x29\x04\xd0\x01\0\0\0\0\0";
        let soa = b"\0\0\x06\0\x01\0\0\0\x3c\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
        let good = answer([0x81, 0x80], [1, 0, 0], a);
        let rows: Vec<(&str, Vec<u8>, &str)> = vec![
            ("an answer", good.clone(), "NoError 1 None"),
            ("in capitals", with(15, b'T', with(13, b'X', good.clone())), "NoError 1 None"),
            ("its own question", asked.clone(), "malformed"),
            ("its own question, cut off", with(2, 0x03, asked.clone()), "malformed"),
            ("cut off by the server", answer([0x83, 0x80], [9, 0, 0], b""), "truncated"),
            ("another type", with(20, 28, good.clone()), "stray"),
            ("another class", with(22, 3, good.clone()), "stray"),
            ("another name", with(13, b'y', good.clone()), "stray"),
            ("another name, cut off", with(13, b'y', answer([0x83, 0x80], [0, 0, 0], b"")), "stray"),
            ("no question", with(5, 0, good.clone()), "stray"),
            ("two questions", with(5, 2, good.clone()), "stray"),
            ("another id", with(1, 0x35, good.clone()), "stray"),
            ("another id, malformed", vec![0x12, 0x35, 0xff], "stray"),
            ("nothing", vec![], "stray"),
            ("an id alone", vec![0x12, 0x34], "stray"),
            ("a head alone", asked[..12].to_vec(), "stray"),
            ("a question that is cut", asked[..asked.len() - 1].to_vec(), "stray"),
            ("a question whose name is its own pointer", [&asked[..12], b"\xc0\x0c\0\x01\0\x01"].concat(), "stray"),
            ("nonsense, without the question", b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0".to_vec(), "stray"),
            ("the high bits of a code (16 has two names)", answer([0x81, 0x80], [0, 0, 1], opt), "BADSIG 0 None"),
            ("two sets of high bits", answer([0x81, 0x80], [0, 0, 2], &[&opt[..], opt].concat()), "malformed"),
            ("nothing there", answer([0x81, 0x83], [0, 1, 0], soa), "NXDomain 0 Some(5)"),
            ("other servers", answer([0x81, 0x80], [0, 1, 0], ns), "NoError 0 None, refers"),
            ("a SOA that is cut", answer([0x81, 0x83], [0, 1, 0], &soa[..soa.len() - 1]), "malformed"),
            ("a record too few", answer([0x81, 0x80], [2, 0, 0], a), "malformed"),
            ("a record of another class", with(asked.len() + 5, 3, good), "malformed"),
        ];
        for (what, bytes, expected) in rows {
            let got = match question.hear(&bytes) {
                Ok(Heard::Stray) => "stray".to_owned(),
                Ok(Heard::Truncated) => "truncated".to_owned(),
                Ok(Heard::Answer(answer)) => {
                    let refers = if answer.refers { ", refers" } else { "" };
                    format!("{:?} {} {:?}{refers}", answer.code, answer.records.len(), answer.negative)
                }
                Err(_) => "malformed".to_owned(),
            };
            assert_eq!(got, expected, "{what}");
        }
    }
}
