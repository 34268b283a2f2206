//! Frames that somebody else has and that are read only as they are sent.

use bytes::Bytes;
use std::fmt::Debug;
use std::io;

/// Bytes elsewhere, there for as long as this is.
pub trait LentFrame: Debug {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with what lies at this offset; does not wait for anybody.
    fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()>;
}

/// One frame of a message to be sent.
#[derive(Debug)]
pub enum Frame {
    Here(Bytes),
    Lent(Box<dyn LentFrame>),
}

impl Frame {
    pub fn len(&self) -> usize {
        match self {
            Self::Here(frame) => frame.len(),
            Self::Lent(frame) => frame.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
