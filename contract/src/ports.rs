//! Ports on a cluster. On one machine every port is a free one on loopback instead.

/// Where clients and workers reach the scheduler (Dask's own default).
pub const CLIENT: u16 = 8786;

/// Where the scheduler answers HTTP: health, metrics, `/json/*`, `/api/v1/*`, the status page.
pub const DASHBOARD: u16 = 8787;

/// Where a worker answers its peers, when a fixed port is asked for.
pub const WORKER: u16 = 8788;

/// Where a worker's nanny side answers, when a fixed port is asked for.
pub const NANNY: u16 = 8789;

/// Where a worker answers HTTP (`/health`, `/metrics`).
pub const WORKER_DASHBOARD: u16 = 8790;

/// Where the scheduler's launcher takes lifelines ([`crate::launch`]).
pub const LIFELINE: u16 = 8785;
