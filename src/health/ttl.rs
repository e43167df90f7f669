//! The words of a TTL check. Its deadline is kept by whoever runs it.

/// Output of a check whose time ran out; `last` is what it said before.
pub fn expired(last: &str) -> String {
    if last.is_empty() {
        "TTL expired".to_owned()
    } else {
        format!("TTL expired (last output before timeout follows): {last}")
    }
}

/// What is kept of an output: its first `limit` bytes, and a note if there were more.
pub fn capped(output: String, limit: usize) -> String {
    let total = output.len();
    if total <= limit {
        return output;
    }
    // Not through the middle of a character: what follows must stay UTF-8.
    let kept = (0..=limit).rev().find_map(|end| output.get(..end)).unwrap_or_default();
    format!("{kept} ... (captured {limit} of {total} bytes)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(expired(""), "TTL expired");
        assert_eq!(expired("x"), "TTL expired (last output before timeout follows): x");
        assert_eq!(capped("0123".into(), 4), "0123");
        assert_eq!(capped("0123456789abc".into(), 10), "0123456789 ... (captured 10 of 13 bytes)");
        assert_eq!(capped("aä".into(), 2), "a ... (captured 2 of 3 bytes)");
    }
}
