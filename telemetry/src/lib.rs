//! Setting up the log of our programs: to standard error, as text or JSON, filtered by the
//! environment. And the words its events use.
//!
//! Events have a constant message and their values as fields:
//! `info!(task = %key, worker = %address, "task started")`.

pub mod recent;
pub mod vocabulary;

use std::io::IsTerminal;
use tracing_subscriber::filter::{FilterExt, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

/// Shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(format!("\"{other}\" is not a log format: use text or json")),
        }
    }
}

/// What a program wants of its log. The program's `main` reads flags and environment into this.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub format: Format,
    /// In the syntax of `EnvFilter`; empty means `info`.
    pub filter: String,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("read the log filter \"{filter}\"")]
    Filter {
        filter: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("set up the log a second time")]
    Twice(#[from] TryInitError),
}

/// Sends the events of this process to standard error from now on.
pub fn set_up(settings: &Settings) -> Result<(), SetupError> {
    let filter = if settings.filter.is_empty() {
        "info"
    } else {
        &settings.filter
    };
    let read = || {
        EnvFilter::try_new(filter).map_err(|source| SetupError::Filter {
            filter: filter.to_owned(),
            source,
        })
    };
    // Who asks for the last lines wants to know more than who watches.
    let kept = read()?.or(LevelFilter::INFO);
    let registry = tracing_subscriber::registry().with(recent::Recorder.with_filter(kept));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match settings.format {
        Format::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal());
            registry.with(lines.with_filter(read()?)).try_init()?;
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            registry.with(lines.with_filter(read()?)).try_init()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let settings = Settings {
            filter: "scheduler=loud".to_owned(),
            ..Settings::default()
        };
        let error = set_up(&settings).unwrap_err();
        assert_eq!(error.to_string(), "read the log filter \"scheduler=loud\"");
    }

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!(
            "xml"
                .parse::<Format>()
                .unwrap_err()
                .contains("text or json")
        );
    }
}
