//! Why a manifest is refused: which field, what is wrong with it, what to write instead.

use serde::Serialize;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Path of the field, `spec.workerGroups[0].name`; empty for the document as a whole.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// Where it stands in the text, when it came from a text.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A place in the text of a manifest, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    pub line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Refusal {
    pub fn new(
        field: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Refusal {
            field: field.into(),
            reason: reason.into(),
            remedy: remedy.into(),
            location: None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(location) = self.location {
            write!(formatter, "line {}", location.line)?;
            if let Some(column) = location.column {
                write!(formatter, ", column {column}")?;
            }
            formatter.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        write!(formatter, "{}; {}", self.reason, self.remedy)
    }
}

/// Refusals found so far.
#[derive(Debug, Default)]
pub(crate) struct Refusals(pub Vec<Refusal>);

impl Refusals {
    pub fn add(
        &mut self,
        field: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Refusal::new(field, reason, remedy));
    }
}
