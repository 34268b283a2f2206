//! Writes single MessagePack items, always in their shortest form (so does Python's msgpack).

pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => write_u64(out, value as u64),
        -32..0 => out.push(value as i8 as u8),
        -128..-32 => out.extend_from_slice(&[0xd0, value as i8 as u8]),
        -0x8000..-128 => tagged(out, 0xd1, &(value as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => tagged(out, 0xd2, &(value as i32).to_be_bytes()),
        _ => tagged(out, 0xd3, &value.to_be_bytes()),
    }
}

pub fn write_u64(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x80 => out.push(value as u8),
        0x80..0x100 => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..0x1_0000 => tagged(out, 0xcd, &(value as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => tagged(out, 0xce, &(value as u32).to_be_bytes()),
        _ => tagged(out, 0xcf, &value.to_be_bytes()),
    }
}

pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    tagged(out, 0xcb, &value.to_be_bytes());
}

pub fn write_str(out: &mut Vec<u8>, text: &str) {
    write_str_bytes(out, text.as_bytes());
}

/// A string that need not be UTF-8.
pub fn write_str_bytes(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len @ 32..0x100 => out.extend_from_slice(&[0xd9, len as u8]),
        len => long_len(out, 0xda, len),
    }
    out.extend_from_slice(text);
}

pub fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    write_bin_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The head of a binary string; its bytes follow.
pub fn write_bin_len(out: &mut Vec<u8>, len: usize) {
    match len {
        len @ 0..0x100 => out.extend_from_slice(&[0xc4, len as u8]),
        len => long_len(out, 0xc5, len),
    }
}

pub fn write_array_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..16 => out.push(0x90 | len as u8),
        _ => long_len(out, 0xdc, len),
    }
}

pub fn write_map_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..16 => out.push(0x80 | len as u8),
        _ => long_len(out, 0xde, len),
    }
}

/// Writes a 16 bit length with `marker`, a longer one with the marker after it.
fn long_len(out: &mut Vec<u8>, marker: u8, len: usize) {
    match u16::try_from(len) {
        Ok(len) => tagged(out, marker, &len.to_be_bytes()),
        Err(_) => {
            let len = u32::try_from(len).expect("msgpack holds at most 4 GiB in one item");
            tagged(out, marker + 1, &len.to_be_bytes());
        }
    }
}

fn tagged<const N: usize>(out: &mut Vec<u8>, marker: u8, bytes: &[u8; N]) {
    out.push(marker);
    out.extend_from_slice(bytes);
}
