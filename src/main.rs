//! The `tribune` program: the command line, and an allocator that suits many small requests.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tribune::cli::run(std::env::args_os(), tribune::agent::command::main)
}
