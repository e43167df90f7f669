//! The room as a whole: texts in, settings or errors out.

mod bad;
mod good;
mod parsers;
mod reloads;
mod samples;

use std::ffi::OsString;
use std::path::Path;

use super::{Flags, Loaded, Settings, SettingsError};

/// Enough for a client agent on any machine.
const BASE: &str = "-bind=127.0.0.1";
const BASE_DIR: &str = "-data-dir=/nonexistent/data";

/// Loads files, in order, and flags. Errors name files without their directory.
fn load(files: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut line: Vec<OsString> = Vec::new();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        line.push("-config-file".into());
        line.push(path.into());
    }
    line.extend([BASE, BASE_DIR].map(OsString::from));
    line.extend(flags.iter().map(OsString::from));
    load_line(line).map_err(|error| without(directory.path(), &error))
}

fn load_line(line: Vec<OsString>) -> Result<Loaded, SettingsError> {
    Settings::load(&Flags::parse(line).unwrap())
}

fn without(directory: &Path, error: &SettingsError) -> String {
    error.to_string().replace(&format!("{}/", directory.display()), "")
}

/// Settings from one HCL text.
fn hcl(text: &str) -> Settings {
    load(&[("a.hcl", text)], &[]).unwrap_or_else(|error| panic!("{text}: {error}")).settings
}
