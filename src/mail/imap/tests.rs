//! Rows: what real servers send, and what nobody should.

use super::*;

/// A value as a line: `{name=value …}`, `[value …]`, texts as they are.
fn show(value: &Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::True => "true".into(),
        Value::Number(number) => number.to_string(),
        Value::Seconds(seconds) => format!("@{seconds}"),
        Value::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        Value::Numbers(numbers) => format!("{numbers:?}"),
        Value::List(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Same(name) => format!("={name}"),
        Value::Hash(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), show(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
    }
}

fn said(response: &str) -> String {
    match parse(response.as_bytes(), MANY_VALUES) {
        Ok((value, _)) => show(&value),
        Err(Malformed(why)) => format!("malformed: {why}"),
        Err(Fault::TooMany) => "too many".into(),
    }
}

const MANY_VALUES: usize = 1_000_000;

#[test]
fn responses() {
    let rows = [
        ("+ \r\n", "{kind='go' text=''}"),
        ("+\r\n", "{kind='go' text=''}"),
        ("+ YGgGCSq=\r\n", "{kind='go' text='YGgGCSq='}"),
        ("* OK ready {5}\r\n", "{kind='status' status='OK' text='ready {5}'}"),
        ("A1 OK\r\n", "{kind='status' status='OK' tag='A1' text=''}"),
        (
            "A1 no [overquota] Full\r\n",
            "{kind='status' status='NO' tag='A1' code='OVERQUOTA' arguments=[] text='Full'}",
        ),
        (
            "* OK [UIDVALIDITY 3857529045] UIDs valid\r\n",
            "{kind='status' status='OK' code='UIDVALIDITY' arguments=['3857529045'] text='UIDs valid'}",
        ),
        (
            "* OK [PERMANENTFLAGS (\\Deleted \\*)] ok\r\n",
            "{kind='status' status='OK' code='PERMANENTFLAGS' arguments=[['\\Deleted' '\\*']] text='ok'}",
        ),
        (
            "* OK [BADCHARSET (\"]\" x)] y\r\n",
            "{kind='status' status='OK' code='BADCHARSET' arguments=[[']' 'x']] text='y'}",
        ),
        ("* OK [ODD (( ] y\r\n", "{kind='status' status='OK' code='ODD' arguments=['(('] text='y'}"),
        ("* OK [half\r\n", "{kind='status' status='OK' text='[half'}"),
        ("* BYE b\u{e9}\r\n", "{kind='status' status='BYE' text='b\u{e9}'}"),
        ("A1 HM\r\n", "malformed: neither OK, NO nor BAD follows the tag"),
        ("* 23 EXISTS\r\n", "{kind='exists' number=23}"),
        ("* 5 recent\r\n", "{kind='recent' number=5}"),
        ("* 44 EXPUNGE\r\n", "{kind='expunge' number=44}"),
        ("* 44 EXPUNGE 3\r\n", "malformed: there is more than the response may have"),
        ("* 44 NEWS (a)\r\n", "{kind='data' name='NEWS' items=[['a']] number=44}"),
        ("* CAPABILITY IMAP4rev1 AUTH=PLAIN \r\n", "{kind='capability' names=['IMAP4rev1' 'AUTH=PLAIN']}"),
        ("* ENABLED UTF8=ACCEPT\r\n", "{kind='enabled' names=['UTF8=ACCEPT']}"),
        ("* FLAGS (\\Seen NonJunk $MDNSent [odd])\r\n", "{kind='flags' flags=['\\Seen' 'NonJunk' '$MDNSent' '[odd]']}"),
        ("* SEARCH\r\n", "{kind='search' found=[]}"),
        ("* SEARCH 2 84\r\n", "{kind='search' found=[2, 84]}"),
        ("* SEARCH 2 (MODSEQ 9)\r\n", "{kind='search' more=['MODSEQ' '9'] found=[2]}"),
        ("* SEARCH 4294967296\r\n", "malformed: a number has more than 32 bits"),
        ("* SEARCH two\r\n", "malformed: a number is malformed"),
        (
            "* ESEARCH (TAG \"A2\") UID COUNT 3 ALL 2,11:10\r\n",
            "{kind='esearch' tag='A2' uid=true count=3 all=[2, 10, 11]}",
        ),
        ("* ESEARCH ALL 1:4294967295\r\n", "too many"),
        ("* ESEARCH MIN\r\n", "malformed: ESEARCH has a name without a value"),
        ("* VANISHED (EARLIER) 3:4\r\n", "{kind='vanished' uids=[3, 4] earlier=true}"),
        (
            "* LIST (\\Noselect) \"/\" ~/Mail/foo\r\n",
            "{kind='list' attributes=['\\Noselect'] separator='/' name='~/Mail/foo'}",
        ),
        ("* LIST () NIL NIL\r\n", "{kind='list' attributes=[] name='NIL'}"),
        ("* LIST () \".\" {5}\r\na\"(\\b\r\n", "{kind='list' attributes=[] separator='.' name='a\"(\\b'}"),
        (
            "* XLIST () \"/\" \"a\\\\b\\\"\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
            "{kind='list' attributes=[] separator='/' name='a\\b\"' more=['CHILDINFO' ['SUBSCRIBED']]}",
        ),
        ("* LIST () \"/\" Entw\u{fc}rfe\r\n", "{kind='list' attributes=[] separator='/' name='Entw\u{fc}rfe'}"),
        ("* LIST \"/\" x\r\n", "malformed: LIST has not attributes, a separator and a name"),
        (
            "* STATUS \"a b\" (MESSAGES 1 MAILBOXID (F22))\r\n",
            "{kind='mailbox' name='a b' status={messages=1 mailboxid=['F22']}}",
        ),
        ("* STATUS a (MESSAGES)\r\n", "malformed: STATUS has an item without a value"),
        (
            "* NAMESPACE ((\"\" \"/\")) NIL ((\"#s/\" NIL))\r\n",
            "{kind='namespace' personal=[{prefix='' separator='/'}] other=[] shared=[{prefix='#s/'}]}",
        ),
        ("* ID (\"name\" NIL)\r\n", "{kind='data' name='ID' items=[['name' nil]]}"),
        ("* ID (\"name\"\r\n", "malformed: it ends in the middle"),
        ("* X )\r\n", "malformed: a parenthesis closes nothing"),
        ("* X \"a\r\nb\"\r\n", "malformed: a quoted string has CR, LF or NUL"),
        ("* X {4}\r\nabc", "malformed: a literal is longer than the response"),
        ("* X {99999999999999999999999}\r\nabc", "malformed: a literal is longer than the response"),
        ("* X {-1}\r\nabc", "malformed: a literal is malformed"),
        ("\r\n", "malformed: a word is missing"),
        ("*\r\n", "malformed: a space is missing"),
        ("", "malformed: a word is missing"),
        ("* \0\r\n", "malformed: a word is missing"),
    ];
    for (response, expected) in rows {
        assert_eq!(said(response), expected, "{response:?}");
    }
}

#[test]
fn messages() {
    let address = "((\"=?utf-8?q?J=C3=B6rg?=\" NIL \"j\" \"x.example\"))";
    let rows = [
        ("(UID 5 FLAGS (\\Seen) RFC822.SIZE 10 MODSEQ (7))", "uid=5 flags=['\\Seen'] size=10 modseq=7".to_owned()),
        ("(INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")", "internal_date=@837596665".into()),
        ("(INTERNALDATE \" 1-Jan-1970 00:00:00 +0000\")", "internal_date=@0".into()),
        ("(INTERNALDATE \"30-Feb-2026 00:00:00 +0000\")", "internaldate='30-Feb-2026 00:00:00 +0000'".into()),
        ("(INTERNALDATE \"99-Foo-1\")", "internaldate='99-Foo-1'".into()),
        ("(BODY[] {3}\r\na\r\n UID 1)", "uid=1 body={='a\r\n'}".into()),
        ("(BODY[header.fields (\"]\" DATE)]<0> NIL)", "body={HEADER.FIELDS (\"]\" DATE)=nil}".into()),
        (
            "(BODY[1.2] \"x\" BINARY[1] ~{1}\r\n\0 RFC822.TEXT t)",
            "malformed: a section is neither a string nor NIL".into(),
        ),
        ("(BODY[1.2] \"x\" BINARY[1] ~{1}\r\n\0)", "body={1.2='x'} binary={1='\0'}".into()),
        ("(X-GM-LABELS (\\Inbox \"foo\") BINARY.SIZE[2] 7)", "x-gm-labels=['\\Inbox' 'foo'] binary.size[2]='7'".into()),
        ("()", String::new()),
        ("(UID x)", "malformed: a number is malformed".into()),
        ("(UID", "malformed: a space is missing".into()),
        ("UID 5", "malformed: FETCH has no list of attributes".into()),
        ("(BODY[ x)", "malformed: a section has no end".into()),
    ];
    for (attributes, expected) in rows {
        let response = format!("* 7 FETCH {attributes}\r\n");
        let expected = match expected.starts_with("malformed") {
            true => expected,
            false => format!("{{kind='fetch' message={{{}}} number=7}}", ["seq=7", &expected].join(" ").trim_end()),
        };
        assert_eq!(said(&response), expected, "{attributes:?}");
    }
    let envelope = format!(
        "* 1 FETCH (ENVELOPE (\"Mon\" \"=?iso-8859-1?q?S=FC=DF?= a\" {address} NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)) NIL NIL NIL \"<1@x>\"))"
    );
    assert_eq!(
        said(&envelope),
        "{kind='fetch' message={seq=1 envelope={date='Mon' subject='S\u{fc}\u{df} a' from=[{name='J\u{f6}rg' address='j@x.example'}] sender=[] reply_to=[] \
         to=[{address='a@b' group='g'}] cc=[] bcc=[] message_id='<1@x>'}} number=1}"
    );
    // What is repeated is one value: (from sender reply-to), other texts are others.
    for (sender, reply_to, expected) in [
        (address, address, "sender==from reply_to==from"),
        ("((NIL NIL \"k\" \"x.example\"))", address, "sender=[{address='k@x.example'}] reply_to==from"),
        ("NIL", "NIL", "sender=[] reply_to=[]"),
    ] {
        let envelope = format!("* 1 FETCH (ENVELOPE (NIL NIL {address} {sender} {reply_to} NIL NIL NIL NIL NIL))");
        let expected = format!("envelope={{from=[{{name='J\u{f6}rg' address='j@x.example'}}] {expected} to=[]");
        assert!(
            said(&(envelope.clone() + "\r\n")).contains(&expected),
            "{envelope}: {}",
            said(&(envelope.clone() + "\r\n"))
        );
    }
}

#[test]
fn structures() {
    let rows = [
        (
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"UTF-8\") NIL NIL \"7BIT\" 10 1 NIL (\"ATTACHMENT\" (\"FILENAME\" \"a\")) NIL NIL)",
            "{type='text/plain' section='1' params={charset='UTF-8'} encoding='7bit' size=10 lines=1 disposition='attachment' disposition_params={filename='a'}}",
        ),
        ("(NIL NIL NIL NIL NIL NIL NIL)", "{type='text/plain' section='1'}"),
        (
            "((\"A\" \"B\" NIL NIL NIL NIL 1)((\"C\" \"D\" NIL NIL NIL NIL 1) \"MIXED\") \"ALTERNATIVE\" NIL NIL \"de\")",
            "{type='multipart/alternative' parts=[{type='a/b' section='1' size=1} {type='multipart/mixed' section='2' parts=[{type='c/d' section='2.1' size=1}]}] language=['de']}",
        ),
        (
            "((\"MESSAGE\" \"RFC822\" NIL NIL NIL NIL 9 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ((\"A\" \"B\" NIL NIL NIL NIL 1) \"MIXED\") 3) \"MIXED\")",
            "{type='multipart/mixed' parts=[{type='message/rfc822' section='1' size=9 envelope={from=[] sender=[] reply_to=[] to=[] cc=[] bcc=[]} \
             structure={type='multipart/mixed' parts=[{type='a/b' section='1.1' size=1}]} lines=3}]}",
        ),
        (
            "(\"MESSAGE\" \"RFC822\" NIL NIL NIL NIL 9 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"A\" \"B\" NIL NIL NIL NIL 1) 3)",
            "{type='message/rfc822' section='1' size=9 envelope={from=[] sender=[] reply_to=[] to=[] cc=[] bcc=[]} structure={type='a/b' section='1.1' size=1} lines=3}",
        ),
    ];
    for (given, expected) in rows {
        let expected = format!("{{kind='fetch' message={{seq=1 structure={expected}}} number=1}}");
        assert_eq!(said(&format!("* 1 FETCH (BODYSTRUCTURE {given})")), expected, "{given}");
    }
}

#[test]
fn lists_nest_so_deep_and_no_deeper() {
    let nested = |depth| format!("* X {}{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(nested(MAX_DEPTH).as_bytes(), MANY_VALUES).is_ok());
    assert_eq!(said(&nested(MAX_DEPTH + 1)), "malformed: lists are nested too deeply");
    assert_eq!(said(&nested(1_000_000)), "malformed: lists are nested too deeply");
    assert_eq!(
        said(&format!("* 1 FETCH (BODYSTRUCTURE {}", "(".repeat(1_000_000))),
        "malformed: lists are nested too deeply"
    );
}

#[test]
fn values_are_counted_while_they_are_read() {
    // Words of ours, names in parentheses and each number of each set are values.
    let rows = [
        ("* VANISHED 1:4294967295", None),
        ("* VANISHED (EARLIER) 1:999,2:3", None),
        ("* VANISHED 1:900", Some(903)),
        ("* VANISHED 1:500,1:500", None),
        ("* ESEARCH (TAG \"A\") UID ALL 1:500 ALL 1:500", None),
        ("* ESEARCH (TAG \"A\") UID ALL 1:400 ALL 1:400", Some(810)),
        ("* SEARCH 1 2 3", Some(5)),
        ("* OK [COPYUID 1 2:3 4:5] x", Some(5)),
    ];
    for (response, expected) in rows {
        let count = parse(response.as_bytes(), 1000).map(|(_, count)| count);
        assert_eq!(count.map_err(|fault| assert_eq!(fault, Fault::TooMany)).ok(), expected, "{response}");
        if let Some(count) = expected {
            assert!(parse(response.as_bytes(), count).is_ok(), "{response}");
            assert_eq!(parse(response.as_bytes(), count - 1), Err(Fault::TooMany), "{response}");
        }
    }
    assert_eq!(parse(format!("* X {}", "() ".repeat(1000)).as_bytes(), 1000), Err(Fault::TooMany));
    assert_eq!(parse(format!("* OK [X {}] y", "a ".repeat(1000)).as_bytes(), 1000), Err(Fault::TooMany));
    assert_eq!(parse(b"* 1 FETCH (UID 5)", 0), Err(Fault::TooMany));
    assert_eq!(expand(b"1:5,7", 6), Ok(vec![1, 2, 3, 4, 5, 7]));
    assert_eq!(expand(b"1:5,7", 5), Err(Fault::TooMany));
    assert_eq!(expand(b"9:7", 3), Ok(vec![7, 8, 9]));
    assert_eq!(expand(b"1", 0), Err(Fault::TooMany));
}

#[test]
fn ordinary_responses_of_fetch_are_read_in_one_go() {
    let one = "* 7 FETCH (UID 5 FLAGS (\\Seen))\r\n";
    let rows = [
        ("", 0, 0),
        (one, 1, one.len()),
        (&one[..one.len() - 1], 0, 0),
        (&one[..one.len() - 2], 0, 0),
        // What is out of the ordinary is left where it is.
        ("* 7 FETCH (UID 5)\r\n* 8 FETCH (UID 6)\r\n* 9 EXPUNGE\r\n* 10 FETCH (UID 7)\r\n", 2, 38),
        ("* 7 FETCH (UID 5)\r\nA1 OK done\r\n", 1, 19),
        ("* 7 FETCH (UID 5)\n", 0, 0),
        ("* 7 FETCH (UID \r5)\r\n", 0, 0),
        ("* 7 FETCH (X \"\0\")\r\n", 0, 0),
        ("* 7 FETCH (UID 5\r\n", 0, 0),
        ("* 7 FETCH (UID 5) x\r\n", 0, 0),
        ("* x FETCH (UID 5)\r\n", 0, 0),
        ("* 7 FETCH (BODY[] {1}\r\nx)\r\n", 0, 0),
        ("* 7 FETCH (BODY[] {0}\r\n)\r\n", 0, 0),
        ("* 18446744073709551616 FETCH (UID 5)\r\n", 0, 0),
        ("+ 7 FETCH (UID 5)\r\n", 0, 0),
    ];
    for (bytes, messages, length) in rows {
        let found = fetched(bytes.as_bytes(), 1000, 1000);
        assert_eq!((found.messages.len(), found.counts.len(), found.length), (messages, messages, length), "{bytes}");
    }
    // As `parse` has it, and within the same bounds.
    let found = fetched(one.as_bytes(), one.len(), 1000);
    let (Value::Hash(said), count) = parse(one.as_bytes(), MANY_VALUES).unwrap() else { panic!("{one}") };
    assert!(said.iter().any(|(name, value)| **name == *b"message" && *value == found.messages[0]));
    assert_eq!(found.counts, [count as u32]);
    assert_eq!(fetched(one.as_bytes(), one.len(), count).messages.len(), 1);
    assert_eq!(fetched(one.as_bytes(), one.len(), count - 1), Fetched::default());
    assert_eq!(fetched(one.as_bytes(), one.len() - 1, count), Fetched::default());
    let many = one.repeat(1000);
    assert_eq!(fetched(many.as_bytes(), 1000, 3 * count).messages.len(), 3);
    assert_eq!(fetched(many.as_bytes(), 1000, MANY_VALUES).messages.len(), MANY);
}

#[test]
fn literals_end_lines() {
    let rows: [(&str, bool, Option<u64>); 12] = [
        ("* 1 FETCH (BODY[] {5}", true, Some(5)),
        ("* 1 FETCH (BODY[] ~{5+}", true, Some(5)),
        (" BODY[2] {0}", false, Some(0)),
        ("* OK text {5}", true, None),
        ("* NO text {5}", true, None),
        ("A1 BAD {5}", true, None),
        ("+ {5}", true, None),
        (" OK {5}", false, Some(5)),
        ("* X {}", true, None),
        ("* X {5a}", true, None),
        ("* X {18446744073709551616}", true, Some(u64::MAX)),
        ("* X 5}", true, None),
    ];
    for (line, first, expected) in rows {
        assert_eq!(literal(line.as_bytes(), first), expected, "{line}");
    }
}

#[test]
fn mailboxes() {
    let rows = [
        ("INBOX", "INBOX"),
        ("", ""),
        ("&", "&-"),
        ("a&b", "a&-b"),
        ("Entw\u{fc}rfe", "Entw&APw-rfe"),
        ("~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("\u{1f600}", "&2D3eAA-"),
        ("\u{7f}\t", "&AH8ACQ-"),
    ];
    for (name, line) in rows {
        assert_eq!(encode_mailbox(name), line);
        assert_eq!(decode_mailbox(line.as_bytes()).as_deref(), Some(name), "{line}");
    }
    for odd in ["&", "&APw", "&A-", "&AP-", "&2D0-", "&AGE-", "&APw-&APw-", "&APz-"] {
        assert_eq!(decode_mailbox(odd.as_bytes()), None, "{odd}");
    }
    assert_eq!(decode_mailbox(b"caf\xe9"), None);
}

#[test]
fn every_cut_of_every_response_is_an_answer() {
    let long = "* 1 FETCH (UID 5 FLAGS (\\Seen) ENVELOPE (\"d\" {1}\r\ns ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL NIL) BODYSTRUCTURE ((\"A\" \"B\" NIL NIL NIL NIL 1) \"M\") BODY[1]<0> ~{2}\r\nxy)\r\n";
    assert!(parse(long.as_bytes(), MANY_VALUES).is_ok());
    // What is shorter is another response.
    for cut in "* 1 FETCH".len()..long.len() - 2 {
        assert!(parse(&long.as_bytes()[..cut], MANY_VALUES).is_err(), "{cut}");
    }
}
