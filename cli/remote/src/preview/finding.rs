//! What a look ahead found: how bad it is, what it is about, what is wrong, what to do. Pure.

use serde::Serialize;

/// From bad to harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The job would not start as things are.
    Blocks,
    /// It would start, later or with less than it asks for.
    Warns,
    /// Good to know; or what could not be looked at.
    Notes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub about: String,
    pub said: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    pub fn blocks(
        about: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            severity: Severity::Blocks,
            about: about.into(),
            said: said.into(),
            remedy: remedy.into(),
        }
    }

    pub fn warns(
        about: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            severity: Severity::Warns,
            ..Finding::blocks(about, said, remedy)
        }
    }

    pub fn notes(about: impl Into<String>, said: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Notes,
            ..Finding::blocks(about, said, "")
        }
    }

    /// In lines, the remedy on one of its own.
    pub fn text(&self) -> String {
        let word = match self.severity {
            Severity::Blocks => "BLOCKS",
            Severity::Warns => "WARNS ",
            Severity::Notes => "NOTE  ",
        };
        let said = self.said.trim_end().replace('\n', "\n        ");
        let remedy = match self.remedy.as_str() {
            "" => String::new(),
            remedy => format!("        remedy: {remedy}\n"),
        };
        format!("{word}  {}: {said}\n{remedy}", self.about)
    }
}
