//! What a name server says: an answer or none, whatever it is, and never text that is no name.

use caspian_net::names::{Record, Type, heard};

pub fn run(input: (u8, &[u8])) {
    let (kind, bytes) = input;
    let kind = Type::ALL[usize::from(kind) % Type::ALL.len()];
    let Ok(records) = heard(bytes, "x.test", kind) else { return };
    for record in &records {
        let name = match (kind, record) {
            (Type::Ns | Type::Cname | Type::Ptr, Record::Plain(text)) => std::str::from_utf8(text).unwrap(),
            (Type::A | Type::Aaaa, Record::Plain(text)) => {
                assert!(std::str::from_utf8(text).unwrap().parse::<std::net::IpAddr>().is_ok());
                continue;
            }
            (_, Record::Mx { exchange: name, .. } | Record::Srv { target: name, .. }) => name,
            (_, Record::Soa { mname, rname, .. }) => {
                assert!(rname.bytes().all(|b| b.is_ascii_graphic()), "{rname:?}");
                mname
            }
            _ => continue,
        };
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.".contains(&b)), "{name:?}");
    }
}
