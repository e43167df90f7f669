//! `services`: registers services with the agent, and takes them back.

mod body;
pub mod deregister;
pub mod register;

use std::path::PathBuf;

use super::Failure;
use super::invocation::Invocation;
use crate::definition::ServiceDefinition;
use crate::settings;

/// The services of the files and directories given as arguments.
fn from_files(invocation: &Invocation) -> Result<Vec<ServiceDefinition>, Failure> {
    let paths: Vec<PathBuf> = invocation.arguments().iter().map(PathBuf::from).collect();
    settings::services(&paths).map_err(|error| Failure::Text(format!("Error: {error}")))
}
