//! Python environments with pinned requirements, made once in the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{Run, root};

const OLDEST: (u32, u32) = (3, 10);

/// The interpreter of a virtual environment that holds a requirements file of this repository.
pub fn environment(requirements: &str) -> Result<PathBuf> {
    let path = root().join(requirements);
    let text = fs::read_to_string(&path).with_context(|| format!("read {requirements}"))?;
    let base = base()?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let key = cache::fingerprint(&format!(
        "{}\n{}\n{text}",
        base.program.display(),
        base.version
    ));
    let directory = Path::new("environments").join(format!("{stem}-{key}"));
    let made = cache::once(&directory, |directory| {
        println!(
            "    making a Python {} environment for {requirements} in {} (once)",
            base.version,
            directory.display()
        );
        make(&base, directory, &path)
    })?;
    Ok(made.join("bin/python"))
}

/// A virtual environment with nothing in it but a wheel; what that needs is found in another environment.
pub fn with_wheel(directory: &Path, wheel: &Path, others: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Run::new(base()?.program)
        .args(&["-m", "venv", "--without-pip"])
        .arg(directory)
        .run_quietly()?;
    let python = directory.join("bin/python");
    let where_packages_are = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = |python: &Path| Run::new(python).args(&["-c", where_packages_are]).read();
    let link = Path::new(packages(&python)?.trim()).join("others.pth");
    fs::write(&link, packages(others)?).with_context(|| format!("write {}", link.display()))?;
    Run::new(others)
        .args(&["-m", "pip", "--python"])
        .arg(&python)
        .args(&["install", "--no-index", "--quiet"])
        .arg(wheel)
        .run_quietly()
        .context("install the wheel")?;
    Ok(python)
}

fn make(base: &Base, directory: &Path, requirements: &Path) -> Result<()> {
    Run::new(&base.program)
        .args(&["-m", "venv"])
        .arg(directory)
        .run_quietly()
        .context("make a virtual environment: on Debian and Ubuntu it needs `apt-get install python3-venv`")?;
    Run::new(directory.join("bin/python"))
        .args(&[
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
        ])
        .args(&["--progress-bar", "off", "--requirement"])
        .arg(requirements)
        .run()
        .context("install Python packages: it needs a package index (see pip's own message above)")
}

/// The interpreter that environments are made from.
struct Base {
    program: PathBuf,
    version: String,
}

fn base() -> Result<Base> {
    let named = env::var_os(contract::environment::PYTHON).filter(|value| !value.is_empty());
    let candidates: Vec<PathBuf> = match named {
        Some(named) => vec![named.into()],
        None => vec!["python3".into(), "python".into()],
    };
    let script = "import sys; print('%d.%d.%d %s' % (*sys.version_info[:3], sys.executable))";
    for candidate in &candidates {
        let Ok(answer) = Run::new(candidate).args(&["-c", script]).read() else {
            continue;
        };
        let Some((version, program)) = answer.trim().split_once(' ') else {
            continue;
        };
        check_version(version, program)?;
        return Ok(Base {
            program: program.into(),
            version: version.to_owned(),
        });
    }
    bail!(
        "find Python: install Python {}.{} or newer as `python3` on PATH, or name one with {}=/path/to/python",
        OLDEST.0,
        OLDEST.1,
        contract::environment::PYTHON
    )
}

fn check_version(version: &str, program: &str) -> Result<()> {
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST {
        bail!(
            "use {program}: it is Python {version}, and {}.{} or newer is needed; name another one with {}",
            OLDEST.0,
            OLDEST.1,
            contract::environment::PYTHON
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_is_too_old_is_named_with_the_remedy() {
        let error = check_version("3.9.18", "/usr/bin/python3")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("3.9.18") && error.contains("3.10") && error.contains("DASKJOB_PYTHON")
        );
        check_version("3.10.0", "p").unwrap();
        check_version("3.14.1", "p").unwrap();
    }
}
