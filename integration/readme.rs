//! What newcomers are told is what the scripts do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines in fenced shell blocks of the README.
fn shell_lines() -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text("README.md").lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push(line.trim().to_owned());
        }
    }
    lines
}

fn scripts() -> Vec<PathBuf> {
    let mut scripts: Vec<_> =
        fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.push(root().join(".ci/run"));
    scripts
}

#[test]
fn the_two_commands_exist_and_run() {
    let lines = shell_lines();
    for command in ["scripts/dev", "scripts/test"] {
        assert!(lines.iter().any(|line| line == command), "{command} is not in the README");
        let mode = fs::metadata(root().join(command)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{command} is not executable");
        assert!(text(command).contains("setup.sh"), "{command} does not install what is missing");
    }
    assert!(text("scripts/dev").contains("agent -dev"));
    assert!(text("scripts/test").contains("cargo test --release"));
    assert!(text(".ci/run").contains("scripts/test"), "the CI runs other tests than the README says");
}

#[test]
fn every_script_is_sound_shell() {
    for script in scripts() {
        let first = fs::read_to_string(&script).unwrap();
        assert!(first.starts_with("#!"), "{}", script.display());
        let shell = if first.lines().next().unwrap().contains("bash") { "bash" } else { "sh" };
        let checked = Command::new(shell).arg("-n").arg(&script).output().unwrap();
        assert!(
            checked.status.success(),
            "{}: {}",
            script.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

/// The packages the README promises to install are those the script installs.
#[test]
fn the_packages_named_are_the_packages_installed() {
    let readme = text("README.md");
    let setup = text("scripts/setup.sh");
    let packages: Vec<_> = setup
        .lines()
        .filter_map(|line| line.strip_prefix("packages=\"")?.strip_suffix('"'))
        .flat_map(str::split_whitespace)
        .collect();
    assert!(!packages.is_empty());
    for package in packages {
        assert!(
            readme.contains(&format!("`{package}`")),
            "{package} is installed and not named in the README"
        );
    }
}

/// Every file and directory that ARCHITECTURE.md's map names exists.
#[test]
fn the_map_shows_what_is_there() {
    let map = text("ARCHITECTURE.md");
    let named = map.split('`').skip(1).step_by(2).filter(|word| {
        word.starts_with("src/") || word.starts_with("benches/") || word.starts_with("integration/")
    });
    let mut count = 0;
    for path in named {
        count += 1;
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
    }
    assert!(count > 10, "only {count} paths in the map");
    for room in fs::read_dir(root().join("src")).unwrap() {
        let name = room.unwrap().file_name().into_string().unwrap();
        let shown = format!("`src/{name}");
        assert!(map.contains(&shown), "src/{name} is missing in ARCHITECTURE.md's map");
    }
}
