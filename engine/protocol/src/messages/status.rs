//! The life of a worker, in the words both sides use for it.

/// A worker's life as it announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerStatus {
    Init,
    Running,
    Paused,
    ClosingGracefully,
    Closing,
    Closed,
    Failed,
}

impl WorkerStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ClosingGracefully => "closing_gracefully",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// `None` for a word that no worker uses.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Init,
            Self::Running,
            Self::Paused,
            Self::ClosingGracefully,
            Self::Closing,
            Self::Closed,
            Self::Failed,
        ]
        .into_iter()
        .find(|status| status.name() == name)
    }
}
