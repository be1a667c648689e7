//! Mailboxes: what is taken is one line, has one meaning, and goes into an envelope as it is.

use caspian_net::mail::mailbox::{address, list};

pub fn run(text: &str) {
    let Ok(found) = list(text) else { return };
    assert!(!found.is_empty());
    for one in found {
        assert!(!one.address.chars().any(|c| c.is_control() || matches!(c, '<' | '>')), "{one:?}");
        assert_eq!(address(&one.address).as_ref(), Ok(&one.address));
        let again = list(&format!("<{}>", one.address));
        assert!(again.is_ok_and(|again| again.len() == 1 && again[0].address == one.address), "{one:?}");
        assert!(one.name.is_none_or(|name| !name.contains(['\r', '\n', '\0'])));
    }
}
