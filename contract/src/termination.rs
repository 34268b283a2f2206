//! The message a container leaves when it ends (`terminationMessagePath`), as JSON.
//!
//! The kernel kills an executor, not the first process of its container, so the cause travels in
//! this message instead of in the container's state. The kubelet keeps at most 4,096 bytes.

use crate::status::{FailureClass, MemoryUse};
use serde::{Deserialize, Serialize};

/// The most bytes a kubelet keeps of a termination message.
pub const MAXIMUM_BYTES: usize = 4096;

/// Where the kubelet reads the message.
pub const PATH: &str = "/dev/termination-log";

/// Why a container of a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminationMessage {
    pub class: FailureClass,
    /// CamelCase, from [`crate::status::reason`].
    pub reason: String,
    /// One sentence for a person.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Key of the task that ran when it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// For class OutOfMemory, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
}

impl TerminationMessage {
    /// JSON of at most [`MAXIMUM_BYTES`]: first the task, then the end of the message gives way.
    pub fn to_json(&self) -> String {
        let mut shortened = self.clone();
        let mut json = shortened.json();
        if json.len() > MAXIMUM_BYTES {
            shortened.task = None;
            json = shortened.json();
        }
        while json.len() > MAXIMUM_BYTES && !shortened.message.is_empty() {
            // Escaping makes text longer, never shorter: dropping the excess is never too little
            // progress, and the loop ends at an empty message.
            let excess = (json.len() - MAXIMUM_BYTES).min(shortened.message.len());
            let keep = shortened
                .message
                .floor_char_boundary(shortened.message.len() - excess);
            shortened.message.truncate(keep);
            json = shortened.json();
        }
        json
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings and numbers is JSON")
    }

    /// What a container left, if it is ours. Anything else is the container's own text.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> TerminationMessage {
        TerminationMessage {
            class: FailureClass::OutOfMemory,
            reason: crate::status::reason::OUT_OF_MEMORY.to_owned(),
            message: text.to_owned(),
            exit_code: Some(137),
            task: Some("sum-1".to_owned()),
            memory: Some(MemoryUse {
                limit_bytes: Some(4 << 30),
                peak_bytes: None,
            }),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_written() {
        let written = message("worker 3 used 4.0 of 4.0 GiB");
        assert_eq!(
            TerminationMessage::from_json(&written.to_json()),
            Some(written)
        );
    }

    #[test]
    fn a_long_message_is_cut_to_what_the_kubelet_keeps_and_stays_json() {
        for text in ["é".repeat(5_000), "\u{1}".repeat(5_000), "x".repeat(50_000)] {
            let json = message(&text).to_json();
            assert!(json.len() <= MAXIMUM_BYTES, "{} bytes", json.len());
            let read = TerminationMessage::from_json(&json).expect("still JSON");
            assert_eq!(read.class, FailureClass::OutOfMemory);
            assert!(text.starts_with(&read.message));
        }
    }

    #[test]
    fn the_text_of_another_program_is_not_taken_for_ours() {
        assert_eq!(
            TerminationMessage::from_json("Traceback (most recent call last):"),
            None
        );
    }
}
