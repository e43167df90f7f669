//! From flags and files to settings: reads the sources, checks each one, lays them over each other, and
//! has the result resolved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{Report, check};
use super::error::{Fault, Origin, Problem, SettingsError, Warning};
use super::file::File;
use super::flags::{self, Flags};
use super::interfaces::Network;
use super::layer::{Layer, Merged};
use super::resolve::resolve;
use super::resolved::Settings;
use super::tree::{self, Format};
use crate::definition::ServiceDefinition;

/// Settings and what should be said about them at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The warnings, in the order of the sources.
    pub warnings: Vec<Warning>,
}

/// What lies below every other source where a group's own defaults do not fit.
const DEFAULTS: &str = r#"
gossip_wan {
  gossip_interval = "500ms"
  probe_interval  = "5s"
  probe_timeout   = "3s"
  suspicion_mult  = 6
}
"#;

/// Name of the source below in messages.
pub(crate) const DEV_SOURCE: &str = "-dev defaults";

/// What `-dev` lays over the defaults.
const DEV_DEFAULTS: &str = r#"
server                      = true
ui                          = true
bind_addr                   = "127.0.0.1"
log_level                   = "DEBUG"
enable_debug                = true
disable_keyring_file        = true
disable_anonymous_signature = true
connect     { enabled = true }
ports       { grpc = 8502 }
performance { raft_multiplier = 1 }
gossip_lan  { gossip_interval = "100ms", probe_interval = "100ms", probe_timeout = "100ms", suspicion_mult = 3 }
gossip_wan  { gossip_interval = "100ms", probe_interval = "100ms", probe_timeout = "100ms", suspicion_mult = 3 }
consul {
  raft       { election_timeout = "52ms", heartbeat_timeout = "35ms", leader_lease_timeout = "20ms" }
  coordinate { update_period = "100ms" }
  server     { health_interval = "10ms" }
}
"#;

impl Settings {
    /// Loads what the flags name. The order, later wins: defaults, `-dev` defaults, list-valued flags, files
    /// and directories as given, the other flags, `-hcl`. Reads no environment and touches no data
    /// directory; asks the machine for its name and network addresses.
    ///
    /// # Errors
    /// Everything wrong with the sources; if each source is right by itself, everything wrong with their
    /// sum.
    pub fn load(flags: &Flags) -> Result<Loaded, SettingsError> {
        let mut sources = Sources::default();
        sources.built_in("defaults", DEFAULTS);
        if flags.dev {
            sources.built_in(DEV_SOURCE, DEV_DEFAULTS);
        }
        let mut report = Report::default();
        let (lists, scalars) =
            Layer::new(check(flags::source(flags.values.clone()), &mut report)).split_lists();
        sources.take(report);
        sources.layers.push(lists);
        for path in &flags.config_paths {
            sources.path(path, flags.config_format);
        }
        sources.layers.push(scalars);
        for (number, text) in flags.hcl.iter().enumerate() {
            sources.text(&Arc::from(format!("flags-{number}.hcl")), text, Format::Hcl);
        }
        sources.finish(flags.dev)
    }
}

/// Checks files and directories as `agent` would load them, without starting anything. Touches no data
/// directory.
///
/// # Errors
/// What [`Settings::load`] would say.
pub fn validate(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<Warning>, SettingsError> {
    let flags = Flags { config_paths: paths.to_vec(), config_format: format, ..Flags::none() };
    Settings::load(&flags).map(|loaded| loaded.warnings)
}

/// The services of files and directories, for whoever registers them with a running agent. Scripts are
/// allowed here: whether they may run is that agent's decision.
///
/// # Errors
/// What [`Settings::load`] would say of them in a development agent.
pub fn services(paths: &[PathBuf]) -> Result<Vec<ServiceDefinition>, SettingsError> {
    let scripts = "enable_script_checks = true".to_owned();
    let flags = Flags { dev: true, config_paths: paths.to_vec(), hcl: vec![scripts], ..Flags::none() };
    Settings::load(&flags).map(|loaded| loaded.settings.services)
}

/// The layers so far and what was found in them.
#[derive(Default)]
struct Sources {
    layers: Vec<Layer>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Sources {
    fn take(&mut self, report: Report) {
        self.problems.extend(report.problems);
        self.warnings.extend(report.warnings);
    }

    fn built_in(&mut self, name: &str, text: &str) {
        self.text(&Arc::from(name), text, Format::Hcl);
    }

    fn text(&mut self, name: &Arc<str>, text: &str, format: Format) {
        match tree::parse(name, text, format) {
            Ok(tree) => {
                let mut report = Report::default();
                self.layers.push(Layer::new(check(tree, &mut report)));
                self.take(report);
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    /// A file, or the files of a directory in byte order of their names, without those below it.
    fn path(&mut self, path: &Path, format: Option<Format>) {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.unreadable(path, &error),
        };
        if !metadata.is_dir() {
            return self.file(path, format);
        }
        let entries = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()
        });
        let mut files = match entries {
            Ok(files) => files,
            Err(error) => return self.unreadable(path, &error),
        };
        files.sort_by(|left, right| left.as_os_str().cmp(right.as_os_str()));
        for file in files {
            match fs::metadata(&file) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => self.file(&file, format),
                Err(error) => self.unreadable(&file, &error),
            }
        }
    }

    fn file(&mut self, path: &Path, format: Option<Format>) {
        let name = path.display().to_string();
        let Some(format) = format.or_else(|| Format::from_path(path)) else {
            let text = format!(
                "skipping file {name}, extension must be .hcl or .json, or config format must be set"
            );
            self.warnings.push(Warning { origin: None, text });
            return;
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(path, &error),
        };
        let name: Arc<str> = Arc::from(name);
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.text(&name, text, format),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let at = place_after(&name, &String::from_utf8_lossy(before));
                self.problems.push(Problem::at(at, Fault::Syntax("this byte is no UTF-8".to_owned())));
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let text = format!("config: Open failed on {}. {error}", path.display());
        self.problems.push(Problem { origin: None, fault: Fault::Unreadable(text) });
    }

    fn finish(self, dev_mode: bool) -> Result<Loaded, SettingsError> {
        SettingsError::check(self.problems)?;
        // The layers were checked one by one: what fails from here on is a gap in the schema.
        let internal = |error: config::ConfigError| SettingsError::plain(error.to_string());
        let merged = Merged::build(&self.layers).map_err(internal)?;
        let file: File = merged.typed().map_err(internal)?;
        let interfaces = Network::of_this_machine()
            .map_err(|error| SettingsError::plain(format!("cannot list the network interfaces: {error}")))?;
        let (settings, more) = resolve(file, dev_mode, &merged, &interfaces)?;
        let mut warnings = self.warnings;
        warnings.extend(more);
        Ok(Loaded { settings, warnings })
    }
}

/// The place right behind `text`.
fn place_after(source: &Arc<str>, text: &str) -> Origin {
    let mut cursor = tree::Cursor::new(source, text);
    while cursor.next().is_some() {}
    cursor.at()
}
