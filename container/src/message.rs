//! The file in which a container leaves why it ended.

use contract::termination::TerminationMessage;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Leaves the message where the kubelet reads it. The kubelet has made the file: where there is none, nobody reads it and
/// none is made. What cannot be written is in the log all the same.
pub fn leave(file: &Path, message: &TerminationMessage) {
    write(file, &message.to_json());
}

/// Takes back what was left: it explains no end that comes now.
pub fn take_back(file: &Path) {
    write(file, "");
}

fn write(file: &Path, text: &str) {
    let opened = OpenOptions::new().write(true).truncate(true).open(file);
    drop(opened.and_then(|mut file| file.write_all(text.as_bytes())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::status::{FailureClass, reason};

    #[test]
    fn a_message_is_left_only_where_somebody_made_a_file_for_it() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("log");
        let message = TerminationMessage {
            class: FailureClass::WorkersLost,
            reason: reason::WORKERS_LOST.to_owned(),
            message: "it fell".to_owned(),
            exit_code: None,
            task: None,
            memory: None,
        };
        leave(&file, &message);
        assert!(!file.exists());
        std::fs::write(&file, "a longer text of somebody else's ".repeat(20)).unwrap();
        leave(&file, &message);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(TerminationMessage::from_json(&text), Some(message));
        take_back(&file);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    }
}
