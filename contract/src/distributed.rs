//! Which releases of PyPI's `distributed` our scheduler and workers speak with.

/// Oldest and newest release that are tested. A peer older than the first, or of a later year than the second, is
/// refused with both versions named.
pub const SUPPORTED: (&str, &str) = ("2025.4.0", "2026.8.0");
