//! What the targets of HTTP/2 share.

/// The bytes as they are; with an odd `mode` as frames: kind, flags, stream and length in a byte each, and the payload.
pub fn of(mode: u8, bytes: &[u8]) -> Vec<u8> {
    if mode & 1 == 0 {
        return bytes.to_vec();
    }
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let [kind, flags, stream, length, payload @ ..] = rest {
        let (payload, behind) = payload.split_at(payload.len().min(usize::from(*length)));
        out.extend([0, 0, payload.len() as u8, kind % 11, *flags, 0, 0, 0, *stream]);
        out.extend(payload);
        rest = behind;
    }
    out
}
