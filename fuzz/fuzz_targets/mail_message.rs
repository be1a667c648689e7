//! A message from texts that passed their checks: its head is the headers that were meant, and each line of it has an end.

use caspian_net::mail::{
    mailbox::list,
    message::{Content, Message, Part, Piece, content_id, header, media_type, text},
};

type Said<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, Vec<u8>);

pub fn run(said: Said<'_>) {
    let (to, subject, name, value, kind, cid, bytes) = said;
    let Ok(to) = list(to) else { return };
    if text(subject).is_err() || header(name, value).is_err() || media_type(kind).is_err() || content_id(cid).is_err() {
        return;
    }
    let part = Part { kind: kind.into(), name: Some(subject.into()), cid: Some(cid.into()), content: Content::Bytes(bytes) };
    let later = Part { kind: "a/b".into(), name: None, cid: None, content: Content::Later(0) };
    let message = Message {
        from: list("a@x.example").unwrap(),
        to,
        subject: Some(subject.into()),
        text: Some(value.into()),
        headers: vec![(name.into(), value.into())],
        attachments: vec![part, later],
        random: [7; 16],
        ..Message::default()
    };
    let pieces = message.build();
    assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Later(0))).count(), 1);
    let Some(Piece::Bytes(first)) = pieces.first() else { panic!("no head") };
    let end = first.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = &first[..end];
    let mut names = 0;
    for line in head.split(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\r") || std::ptr::eq(line.as_ptr_range().end, head.as_ptr_range().end));
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.contains(&b'\r') && !line.contains(&0));
        names += usize::from(!line.starts_with(b" ") && !line.starts_with(b"\t"));
        assert!(!line.to_ascii_lowercase().starts_with(b"bcc:"));
    }
    // Date, From, To, Subject, Message-ID, the caller's, MIME-Version, Content-Type: his own Date or Message-ID is in the place of ours.
    assert!(names == 8 || names == 7, "{}", String::from_utf8_lossy(head));
}
