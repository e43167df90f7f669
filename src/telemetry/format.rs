//! An event as Consul writes it: a line of text, or an object in JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::settings::LogLevel;

/// A finished event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// When, since 1970.
    pub(super) at: Duration,
    pub(super) level: LogLevel,
    /// Logger's name, such as `agent.server`.
    pub(super) module: Cow<'static, str>,
    /// It stems from this program, not from a library.
    pub(super) own: bool,
    pub(super) message: String,
    /// Fields in the order given, those of the spans after those of the event.
    pub(super) fields: Vec<(&'static str, serde_json::Value)>,
}

impl Event {
    /// `2026-11-21T17:05:31.766Z [INFO]  agent: message: key=value key2="with blank"`.
    pub(super) fn text(&self) -> String {
        let level = format!("[{}]", self.level.as_str());
        let mut line = format!("{} {level:<7} {}: {}", timestamp(self.at, 3), self.module, self.message);
        for (number, (name, value)) in self.fields.iter().enumerate() {
            let separator = if number == 0 { ": " } else { " " };
            let text = match value {
                serde_json::Value::String(text) => quoted(text),
                other => Cow::Owned(other.to_string()),
            };
            let _ = write!(line, "{separator}{name}={text}");
        }
        line
    }

    /// An object with `@level`, `@message`, `@module`, `@timestamp` and the fields.
    pub(super) fn json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("@level".to_owned(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("@message".to_owned(), self.message.clone().into());
        object.insert("@module".to_owned(), self.module.as_ref().into());
        object.insert("@timestamp".to_owned(), timestamp(self.at, 6).into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        serde_json::Value::Object(object).to_string()
    }
}

/// Now, since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// In quotes if it holds blanks, quotes, `=` or control characters, or nothing.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// RFC 3339 in UTC with `digits` decimals (3 or 6).
fn timestamp(since_1970: Duration, digits: usize) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let fraction = if digits == 3 { since_1970.subsec_millis() } else { since_1970.subsec_micros() };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:0digits$}Z")
}

/// Days since 1970 as year, month, day. Counts in 400-year eras that begin on a 1st of March, so that the
/// leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // from 0000-03-01
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_284_331_766, "2026-11-21T18:05:31.766Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, want) in cases {
            assert_eq!(timestamp(Duration::from_millis(millis), 3), want);
        }
        assert_eq!(timestamp(Duration::from_micros(1_000_042), 6), "1970-01-01T00:00:01.000042Z");
    }

    #[test]
    fn quotes() {
        let cases = [
            ("plain", "plain"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("say \"x\"", "\"say \\\"x\\\"\""),
            ("two\nlines", "\"two\\nlines\""),
            ("\u{1}", "\"\\x01\""),
        ];
        for (text, want) in cases {
            assert_eq!(quoted(text), want, "{text:?}");
        }
    }
}
