//! MessagePack as Dask uses it: a zero-copy reader and a writer of single items.
//!
//! Written by hand because the reader must hand out slices of the received frame, skip without recursion and never
//! allocate from a declared length. Knows nothing of placeholders or messages.

mod read;
mod write;

pub use read::{Kind, Reader};
pub use write::{
    write_array_len, write_bin, write_bin_len, write_bool, write_f64, write_i64, write_map_len,
    write_nil, write_str, write_str_bytes, write_u64,
};

/// Encodes a static string of at most 31 bytes at compile time: `snippet!("op")` is `&[0xa2, b'o', b'p']`.
#[macro_export]
macro_rules! snippet {
    ($text:literal) => {{
        const TEXT: &str = $text;
        const ENCODED: [u8; TEXT.len() + 1] =
            $crate::msgpack::short_str::<{ TEXT.len() + 1 }>(TEXT);
        &ENCODED
    }};
}

/// What [`snippet!`] calls; `N` is the length of the text plus one.
pub const fn short_str<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    assert!(
        bytes.len() + 1 == N && bytes.len() < 32,
        "a snippet holds at most 31 bytes"
    );
    let mut encoded = [0; N];
    encoded[0] = 0xa0 | bytes.len() as u8;
    let mut index = 0;
    while index < bytes.len() {
        encoded[index + 1] = bytes[index];
        index += 1;
    }
    encoded
}
