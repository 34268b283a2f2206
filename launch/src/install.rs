//! Copies the running program to where pods of other images find it.

use crate::args::InstallArgs;
use contract::exit_code;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

const ITSELF: &str = "/proc/self/exe";

/// Everybody may run it: who does is the image's business.
const MODE: u32 = 0o755;

/// Copies this program to a file.
pub fn install(args: &InstallArgs) -> ExitCode {
    match copy(&args.file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::say(&format!(
                "cannot copy the program to {}: {error}",
                args.file.display()
            ));
            ExitCode::from(exit_code::INFRASTRUCTURE)
        }
    }
}

/// Under another name first: whoever finds the file finds it whole.
fn copy(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut copy = tempfile::NamedTempFile::new_in(directory)?;
    io::copy(&mut fs::File::open(ITSELF)?, copy.as_file_mut())?;
    let mode = fs::Permissions::from_mode(MODE);
    copy.as_file().set_permissions(mode)?;
    copy.persist(file).map_err(|error| error.error)?;
    Ok(())
}
