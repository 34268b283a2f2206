//! Pickles without Python: what a scheduler must read or write itself.

use bytes::Bytes;

/// The pickle of a `bytes` object.
pub fn bytes_pickle(content: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(content.len() + 16);
    out.extend_from_slice(b"\x80\x04");
    match content.len() {
        len @ 0..0x100 => out.extend_from_slice(&[b'C', len as u8]),
        len @ 0x100..0x1_0000_0000 => {
            out.push(b'B');
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
        len => {
            out.push(0x8e);
            out.extend_from_slice(&(len as u64).to_le_bytes());
        }
    }
    out.extend_from_slice(content);
    out.push(b'.');
    out.into()
}
