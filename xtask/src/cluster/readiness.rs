//! Waiting until a cluster is what it should be: on conditions, never for a time.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::component::Component;
use super::layout::Layout;
use super::prerequisites::PATH;
use super::process;
use super::programs::Programs;
use crate::clock;

/// kubectl inside the network namespace, as the administrator.
pub struct Kubectl<'a> {
    pub layout: &'a Layout,
    pub programs: &'a Programs,
}

impl Kubectl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!(
                "--net={}",
                self.layout.network_namespace().display()
            ))
            .arg(self.programs.path("kubectl"))
            .arg("--kubeconfig")
            .arg(self.layout.kubeconfig("admin"))
            .arg("--request-timeout=10s")
            .args(arguments)
            .env("PATH", PATH)
            // Its cache of what the server can do; elsewhere it would be the user's.
            .env("KUBECACHEDIR", self.layout.path("kubectl-cache"));
        command
    }

    /// What it prints, if it succeeds.
    pub fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(arguments).stdin(Stdio::null()).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let file = self.layout.path("manifest.yaml");
        fs::write(&file, manifest)?;
        let output = self
            .command(&["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(&file)
            .output()
            .context("start kubectl")?;
        if !output.status.success() {
            bail!(
                "apply {}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    pub fn is_ready(&self) -> bool {
        self.ask(&["get", "--raw", "/readyz"]).is_some()
    }
}

/// Components that were just started: whoever waits for them notices when one ends.
#[derive(Default)]
pub struct Started(Vec<(&'static str, Child)>);

impl Started {
    pub fn start(&mut self, layout: &Layout, component: &Component) -> Result<()> {
        let child = process::start(layout, component)?;
        self.0.push((component.name, child));
        Ok(())
    }

    /// Waits until something is so.
    pub fn wait_until(&mut self, layout: &Layout, what: &str, so: impl Fn() -> bool) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(180);
        let stopwatch = clock::start();
        while !so() {
            self.check(layout)?;
            if stopwatch.elapsed() > LONGEST {
                bail!(
                    "wait until {what}: it is not so after {} s; look into the logs in {}",
                    LONGEST.as_secs(),
                    layout.logs().display()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn check(&mut self, layout: &Layout) -> Result<()> {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                let log = layout.log(name);
                bail!(
                    "run {name}: {status}; the end of {}:\n{}",
                    log.display(),
                    last_lines(&fs::read_to_string(&log).unwrap_or_default(), 15)
                );
            }
        }
        Ok(())
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}
