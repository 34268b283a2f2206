//! What can be wrong with received bytes. Every fault of a peer has a name here; none is a panic.

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("message ends inside an item at byte {at}")]
    Truncated { at: usize },
    #[error("bytes left over after the message at byte {at}")]
    Trailing { at: usize },
    #[error("expected {expected}, found {found} at byte {at}")]
    Unexpected {
        expected: &'static str,
        found: &'static str,
        at: usize,
    },
    #[error("integer out of range at byte {at}")]
    IntegerRange { at: usize },
    #[error("nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("message without a frame")]
    NoFrame,
    #[error("placeholder refers to frame {index} of {count}")]
    FrameIndex { index: u64, count: usize },
    #[error("placeholders refer to more frames than the message has")]
    FramesReused,
    #[error("placeholder {0} is malformed")]
    Placeholder(&'static str),
    #[error("payload header: {0}")]
    PayloadHeader(&'static str),
    #[error("key: {0}")]
    Key(#[from] KeyError),
    #[error("field {field} of {op}: {source}")]
    Field {
        op: &'static str,
        field: &'static str,
        source: Box<DecodeError>,
    },
    #[error("field {field} of {op} is missing")]
    MissingField {
        op: &'static str,
        field: &'static str,
    },
}

impl DecodeError {
    /// Says which field was being read.
    pub fn in_field(self, op: &'static str, field: &'static str) -> Self {
        Self::Field {
            op,
            field,
            source: Box::new(self),
        }
    }
}

/// A value that cannot be the name of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("{0} cannot be a task key")]
    Type(&'static str),
    #[error("tuple nested too deeply for a task key")]
    TooDeep,
    #[error("NaN cannot be a task key")]
    NotANumber,
}
