//! The `tribune` program.

use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tribune::cli::run(std::env::args_os(), agent)
}

fn agent(_arguments: Vec<OsString>) -> ExitCode {
    eprintln!("The agent is not built yet.");
    ExitCode::FAILURE
}
