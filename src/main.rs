//! The `tribune` program: the command line, and an allocator that suits many small requests.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tribune::cli::run(std::env::args_os(), tribune::agent::command::main)
}
