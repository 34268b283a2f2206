//! The files by which others find this scheduler; gone when it ends.

use crate::context::Context;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Removes the files when dropped.
pub struct Files(Vec<PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            // Somebody may have removed it before us, which is what we want.
            let _gone = std::fs::remove_file(path);
        }
    }
}

/// Writes the pid file and the scheduler file where they were asked for.
pub fn write(ctx: &Context) -> anyhow::Result<Files> {
    let mut files = Files(Vec::new());
    if let Some(path) = &ctx.config.pid_file {
        put(path, &std::process::id().to_string())?;
        files.0.push(path.clone());
    }
    if let Some(path) = &ctx.config.scheduler_file {
        let identity = serde_json::json!({
            "type": "Scheduler",
            "id": ctx.identity.id,
            "address": ctx.identity.addresses.first(),
            "services": ctx.identity.dashboard_port.map_or_else(
                || serde_json::json!({}),
                |port| serde_json::json!({"dashboard": port}),
            ),
            "started": ctx.identity.started.seconds(),
            "workers": {},
        });
        put(path, &serde_json::to_string_pretty(&identity)?)?;
        files.0.push(path.clone());
    }
    Ok(files)
}

/// Writes a whole file at once: whoever waits for it never reads half of it.
fn put(path: &Path, content: &str) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("write {}", path.display()))
}
