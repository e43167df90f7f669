//! Stock programs to live together with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a stock `consul` or `serf` is: as `TRIBUNE_CONSUL` or `TRIBUNE_SERF` says, in `PATH`, or beside the checkout.
/// `None`, said aloud, if nowhere; a test then has nothing to do.
pub fn stock(program: &str) -> Option<PathBuf> {
    let variable = format!("TRIBUNE_{}", program.to_uppercase());
    let named = env::var_os(&variable).map(PathBuf::from);
    let in_path = || {
        let paths = env::var_os("PATH")?;
        env::split_paths(&paths).map(|path| path.join(program)).find(|path| path.is_file())
    };
    let beside = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/get-consul");
        let printed = Command::new(script).args(["--print", program]).output().ok()?;
        let path = PathBuf::from(String::from_utf8(printed.stdout).ok()?.trim());
        path.is_file().then_some(path)
    };
    let found = named.or_else(in_path).or_else(beside);
    if found.is_none() {
        eprintln!("skipped: no {program} (set {variable}, or put it into PATH)");
    }
    found
}
