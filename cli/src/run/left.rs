//! What a worker of ours leaves each time its Python process is lost: the message that a container leaves when it ends, in a
//! file of the run. Reads that file; knows neither control groups nor what a loss means for the job.
//!
//! The kernel's count of what it killed and the worker's message tell of the same loss, in either order: one kill stands for
//! one message.

use contract::status::FailureClass;
use contract::termination::TerminationMessage;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file, and how far it is known.
#[derive(Debug)]
pub struct LeftBehind {
    file: PathBuf,
    seen: Option<SystemTime>,
    /// Ends by the kernel that no message was found for yet.
    kernel_kills: u64,
}

/// A message that is new.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    pub message: TerminationMessage,
    /// The kernel has counted this loss.
    pub is_counted: bool,
}

impl LeftBehind {
    /// Makes the file, or empties it.
    pub fn new(file: &Path) -> io::Result<Self> {
        fs::write(file, "")?;
        Ok(LeftBehind {
            file: file.to_owned(),
            seen: fs::metadata(file)?.modified().ok(),
            kernel_kills: 0,
        })
    }

    /// The loss since the last look, if there was one. `kernel_kills` is how many processes of this worker the kernel has
    /// ended since then.
    pub fn look(&mut self, kernel_kills: u64) -> Option<Left> {
        self.kernel_kills += kernel_kills;
        let written = fs::metadata(&self.file).ok()?.modified().ok();
        if written == self.seen {
            return None;
        }
        let text = fs::read_to_string(&self.file).ok()?;
        let message = TerminationMessage::from_json(&text);
        // Half a message is whole at the next look; an empty one is taken back.
        if message.is_some() || text.is_empty() {
            self.seen = written;
        }
        let message = message.filter(|message| {
            let class = message.class;
            matches!(class, FailureClass::OutOfMemory | FailureClass::WorkersLost)
        })?;
        let is_counted = message.class == FailureClass::OutOfMemory && self.kernel_kills > 0;
        if is_counted {
            self.kernel_kills -= 1;
        }
        Some(Left {
            message,
            is_counted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: FailureClass, text: &str) -> TerminationMessage {
        TerminationMessage {
            class,
            reason: String::new(),
            message: text.to_owned(),
            exit_code: None,
            task: None,
            memory: None,
        }
    }

    /// Another time for the file, whatever the file system counts in.
    fn write(file: &Path, text: &str, second: u64) {
        fs::write(file, text).unwrap();
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second))
            .unwrap();
    }

    #[test]
    fn a_message_is_told_once_and_the_same_words_again_when_they_are_written_again() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("left");
        let mut left = LeftBehind::new(&file).unwrap();
        assert_eq!(left.look(0), None);
        let text = message(FailureClass::WorkersLost, "fell").to_json();
        write(&file, &text[..9], 1);
        assert_eq!(left.look(0), None, "half of it");
        for second in [2, 3] {
            write(&file, &text, second);
            assert_eq!(left.look(0).unwrap().message.message, "fell");
            assert_eq!(left.look(0), None);
        }
        write(&file, "", 4);
        assert_eq!(left.look(0), None, "taken back");
        write(&file, &message(FailureClass::Image, "x").to_json(), 5);
        assert_eq!(
            left.look(0),
            None,
            "its exit code tells that it never began"
        );
    }

    #[test]
    fn a_loss_that_the_kernel_has_counted_is_not_counted_twice() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("left");
        let mut left = LeftBehind::new(&file).unwrap();
        let text = message(FailureClass::OutOfMemory, "large").to_json();
        assert_eq!(left.look(1), None, "the kernel is quicker");
        write(&file, &text, 1);
        assert!(left.look(0).unwrap().is_counted);
        write(&file, &text, 2);
        assert!(!left.look(0).unwrap().is_counted, "by its own judgement");
        let fell = message(FailureClass::WorkersLost, "fell").to_json();
        write(&file, &fell, 3);
        assert!(
            !left.look(1).unwrap().is_counted,
            "a child was killed, and it fell"
        );
    }
}
