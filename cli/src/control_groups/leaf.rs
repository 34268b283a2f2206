//! The control group of one process and its descendants: its limits, the way in, what it tells, its end.

use super::limits::{self, Controller, Figure, Limits, MemoryRecord, Version};
use super::tree;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One group, in each hierarchy that is used.
#[derive(Debug, Clone)]
pub struct Leaf {
    version: Version,
    parts: Vec<Part>,
    memory_limit_bytes: Option<u64>,
}

#[derive(Debug, Clone)]
struct Part {
    directory: PathBuf,
    controllers: Vec<Controller>,
}

impl Leaf {
    pub(super) fn make(
        version: Version,
        parts: &[(&Path, &[Controller])],
        name: &str,
        limits: &Limits,
    ) -> io::Result<Self> {
        let mut leaf = Leaf {
            version,
            parts: Vec::new(),
            memory_limit_bytes: None,
        };
        match leaf.make_parts(parts, name, limits) {
            Ok(()) => Ok(leaf),
            Err(error) => {
                leaf.end();
                Err(error)
            }
        }
    }

    fn make_parts(
        &mut self,
        parts: &[(&Path, &[Controller])],
        name: &str,
        limits: &Limits,
    ) -> io::Result<()> {
        let figures = limits::figures(self.version, limits);
        for (run, controllers) in parts {
            let directory = run.join(name);
            std::fs::create_dir(&directory)?;
            self.parts.push(Part {
                directory: directory.clone(),
                controllers: controllers.to_vec(),
            });
            for figure in &figures {
                if controllers.contains(&figure.controller) {
                    write(&directory, figure)?;
                }
            }
            if controllers.contains(&Controller::Memory) {
                self.memory_limit_bytes = limits.memory_bytes;
            }
        }
        Ok(())
    }

    /// Has the process of a command enter before its program begins.
    pub fn hold(&self, command: &mut Command) -> io::Result<()> {
        let doors: Vec<File> = self
            .parts
            .iter()
            .map(|part| {
                OpenOptions::new()
                    .write(true)
                    .open(part.directory.join("cgroup.procs"))
            })
            .collect::<io::Result<_>>()?;
        let enter = move || doors.iter().try_for_each(|mut door| door.write_all(b"0"));
        // SAFETY: what runs between fork and exec only writes to descriptors that were opened before; it neither
        // allocates nor takes a lock.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    /// What happened to its memory so far.
    pub fn memory(&self) -> MemoryRecord {
        let part = self
            .parts
            .iter()
            .find(|part| part.controllers.contains(&Controller::Memory));
        let Some(part) = part else {
            return MemoryRecord::default();
        };
        let read = |file: &str| std::fs::read_to_string(part.directory.join(file));
        let (kills_file, peak_file) = limits::record_files(self.version);
        let number = |text: String| text.trim().parse::<u64>().ok();
        MemoryRecord {
            kills: read(kills_file).ok().and_then(|text| limits::kills(&text)),
            limit_met: read("memory.failcnt")
                .ok()
                .and_then(number)
                .is_some_and(|times| times > 0),
            peak_bytes: read(peak_file).ok().and_then(number),
            limit_bytes: self.memory_limit_bytes,
        }
    }

    /// Ends whatever is still in it, and removes it.
    pub fn end(&self) {
        for part in &self.parts {
            tree::end(&part.directory);
        }
    }
}

fn write(directory: &Path, figure: &Figure) -> io::Result<()> {
    let file = directory.join(figure.file);
    let written = OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|mut file| file.write_all(figure.value.as_bytes()));
    match written {
        Err(error) if figure.optional || surroundings_allow_less(figure.controller, &error) => {
            Ok(())
        }
        other => other.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("write {} to {}: {error}", figure.value, file.display()),
            )
        }),
    }
}

/// Version one refuses more processor time than a group around it has; then that smaller limit holds anyway.
fn surroundings_allow_less(controller: Controller, error: &io::Error) -> bool {
    controller == Controller::Cpu && error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}
