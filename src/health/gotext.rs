//! Texts in the form Go's standard library gives them, as the outputs of Consul's checks carry them.

use std::io;

/// The operating system's text for `error`, as Go spells it: no number, no capital.
pub(super) fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// The system call's name that Go puts before its error: `connect: connection refused`.
pub(super) fn call_error(call: &str, error: &io::Error) -> String {
    format!("{call}: {}", os_error(error))
}
