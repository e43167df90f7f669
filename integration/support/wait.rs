//! Waiting for a state, with a deadline and a reason when it does not come.

use std::time::{Duration, Instant};

/// Pause between two looks.
const STEP: Duration = Duration::from_millis(5);

/// Looks until `look` gives something, at most `limit`.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

/// Waits until `look` holds, at most `limit`.
///
/// # Panics
/// If it does not hold by then; the text says what was waited for.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    assert!(eventually(limit, || look().then_some(())).is_some(), "waited {limit:?} for: {what}");
}
