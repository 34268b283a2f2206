//! The wire protocol of Dask distributed: bytes ↔ messages.
//!
//! Pure: no sockets, no clock, no runtime. Whatever a peer sends is either a message or an error with a name; nothing
//! here panics on it, and memory grows with what arrived, never with a declared length.
//!
//! ```text
//! bytes ─ frames::FrameDecoder ─► Frames ─┬─ messages::decode_{worker,client,scheduler}_batch ─► typed messages (hot path)
//!                                         └─ decode_message ─► Value (everything else)
//! bytes ◄──── frames::encode ──── Frames ◄── MessageWriter ◄── values, keys, payloads
//! ```

#[macro_use]
pub mod msgpack;

pub mod address;
mod compression;
mod decode;
mod error;
pub mod frames;
mod key;
mod key_text;
pub mod messages;
mod payload;
pub mod pickle;
mod text;
mod time;
mod value;
mod writer;

pub use address::{Address, AddressError, Scheme};
pub use compression::{Compression, DecompressError};
pub use decode::{Decoder, decode_message};
pub use error::{DecodeError, KeyError};
pub use frames::{FrameDecoder, FrameError, FrameMemory, FrameRegion, Frames, Limits};
pub use key::{Key, KeyBuildHasher, KeyHasher};
pub use key_text::{float_repr, write_str_repr};
pub use payload::{Payload, SubHeader};
pub use text::Text;
pub use time::Time;
pub use value::{EnumMember, Value};
pub use writer::{MessageWriter, encode_value};
