//! Every example runs to its end on both engines; each asserts its own result.

use crate::harness::{Place, need_python};
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn runs(name: &str, engine: &str) {
    need_python!();
    let place = Place::new();
    let manifest = directory().join(format!("{name}.yaml"));
    let finished = place.run(&[
        "run",
        manifest.to_str().unwrap(),
        "--engine",
        engine,
        "--output",
        "json",
        "--no-progress",
    ]);
    assert_eq!(finished.code, 0, "{}\n{}", finished.text(), finished.stderr);
    let status = finished.status();
    assert_eq!(
        (&status["jobStatus"], &status["attempt"]),
        (&"Complete".into(), &1.into()),
        "{status:#}"
    );
    assert!(status.get("failure").is_none(), "{status:#}");
}

macro_rules! examples {
    ($($name:ident: $file:literal,)*) => {
        const EXAMPLES: &[&str] = &[$($file,)*];

        mod on_stock_dask {
            $(#[test] fn $name() { super::runs($file, "dask"); })*
        }

        mod on_our_scheduler {
            $(#[test] fn $name() { super::runs($file, "native"); })*
        }
    };
}

examples! {
    array: "array",
    dataframe: "dataframe",
    quickstart: "quickstart",
    resources: "resources",
    retries: "retries",
    word_count: "word-count",
}

#[test]
fn no_example_is_forgotten() {
    let mut files: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, EXAMPLES);
}

#[test]
fn every_example_is_valid() {
    let place = Place::new();
    for name in EXAMPLES {
        let manifest = directory().join(format!("{name}.yaml"));
        let finished = place.run(&["validate", manifest.to_str().unwrap()]);
        assert_eq!(finished.code, 0, "{}{}", finished.text(), finished.stderr);
    }
}
