//! Writes the CRD manifests that are made from the types, or with `--check` only says which are not current.
//! Run by `cargo xtask generate`, from the root of the repository.

use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let check = env::args().any(|argument| argument == "--check");
    let mut code = ExitCode::SUCCESS;
    for (path, text) in crd::manifests() {
        if fs::read_to_string(path).is_ok_and(|known| known == text) {
            println!("{path} is current");
        } else if check {
            eprintln!("{path} is not current: run `cargo xtask generate`");
            code = ExitCode::FAILURE;
        } else if let Err(error) = fs::write(path, text) {
            eprintln!("write {path}: {error}");
            code = ExitCode::FAILURE;
        } else {
            println!("{path} written");
        }
    }
    code
}
