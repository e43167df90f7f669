//! Durations as Go writes them: `1m30s`, `1.5h`, `-5s`, `100ms`, `2µs`.
//!
//! Every room that reads or writes one uses this: configuration, HTTP bodies, the command line.
//! Pure functions, with Go's rules and error texts (`time.ParseDuration`, `Duration.String`). They count
//! in whole nanoseconds and know negative values; [`parse_unsigned`] is for where those make no sense.

use std::time::Duration;

/// Why a text is no duration; the texts are Go's.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the form number-unit-number-unit…, or too large for 64 bits of nanoseconds.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that is none of `ns`, `us`, `µs`, `ms`, `s`, `m`, `h`.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// What stands where a unit is due.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Below zero where that makes no sense.
    #[error("duration {0:?} must not be negative")]
    Negative(String),
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Reads a duration into nanoseconds.
///
/// # Errors
/// [`DurationError`], with Go's texts.
///
/// # Examples
/// `"1m30s"` is 90,000,000,000; `"0"` is 0; `"30"` has no unit.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = split_digits(rest);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(after_dot) => split_digits(after_dot),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end =
            after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let size = unit_size(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = whole
            .checked_mul(size)
            .and_then(|nanos| nanos.checked_add(fraction_of(fraction, size)))
            .and_then(|nanos| total.checked_add(nanos))
            .filter(|nanos| *nanos <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = after_unit;
    }
    if negative {
        // The smallest i64 has no positive twin.
        Ok(0_i64.checked_sub_unsigned(total).ok_or_else(invalid)?)
    } else {
        i64::try_from(total).map_err(|_| invalid())
    }
}

/// Reads a duration that may not be below zero.
///
/// # Errors
/// [`DurationError`], [`DurationError::Negative`] included.
pub fn parse_unsigned(text: &str) -> Result<Duration, DurationError> {
    let nanos = u64::try_from(parse(text)?).map_err(|_| DurationError::Negative(text.to_owned()))?;
    Ok(Duration::from_nanos(nanos))
}

/// Writes nanoseconds as Go does: `1m30s`, `1.5s`, `100ms`, `2µs`, `0s`.
pub fn format(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let body = match magnitude {
        0 => "0s".to_owned(),
        n if n < MICROSECOND => format!("{n}ns"),
        n if n < MILLISECOND => format!("{}µs", decimal(n, MICROSECOND)),
        n if n < SECOND => format!("{}ms", decimal(n, MILLISECOND)),
        n => {
            let seconds = decimal(n % MINUTE, SECOND);
            match (n / HOUR, n / MINUTE % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{body}")
}

/// Writes a [`Duration`] as Go does; one beyond 292 years is written as the longest Go knows.
pub fn format_unsigned(duration: Duration) -> String {
    format(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// Leading digits and what follows them.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_size(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Both the micro sign (U+00B5) and the Greek letter (U+03BC).
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// `0.digits` of a unit, cut to whole nanoseconds. Go computes this in floating point; exact arithmetic
/// differs from it by at most a nanosecond and keeps the round trip exact.
fn fraction_of(digits: &str, size: u64) -> u64 {
    // Digits beyond the eighteenth are worth less than a nanosecond in every unit.
    let digits = digits.get(..digits.len().min(18)).unwrap_or(digits);
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    let value: u128 = digits.parse().unwrap_or(0);
    u64::try_from(value * u128::from(size) / scale).unwrap_or(0)
}

/// `value / unit` with as many decimals as needed.
fn decimal(value: u64, unit: u64) -> String {
    let whole = value / unit;
    let rest = value % unit;
    if rest == 0 {
        return whole.to_string();
    }
    let width = usize::try_from(unit.ilog10()).unwrap_or(0);
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_texts() {
        let cases = [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("-0", 0, "0s"),
            ("1ns", 1, "1ns"),
            ("2us", 2_000, "2µs"),
            ("2µs", 2_000, "2µs"),
            ("2μs", 2_000, "2µs"),
            ("1500ns", 1_500, "1.5µs"),
            ("100ms", 100_000_000, "100ms"),
            ("1.5s", 1_500_000_000, "1.5s"),
            (".5s", 500_000_000, "500ms"),
            ("5.s", 5_000_000_000, "5s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("72h", 259_200_000_000_000, "72h0m0s"),
            ("-5s", -5_000_000_000, "-5s"),
            ("+5s", 5_000_000_000, "5s"),
            ("30s1h", 3_630_000_000_000, "1h0m30s"),
            ("1m0.1s", 60_100_000_000, "1m0.1s"),
            ("0.0000000001h", 360, "360ns"),
            ("0.0000000001ms", 0, "0s"),
            ("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s"),
            ("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (text, nanos, written) in cases {
            assert_eq!(parse(text), Ok(nanos), "{text}");
            assert_eq!(format(nanos), written, "{text}");
        }
    }

    #[test]
    fn bad_texts() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("30", "time: missing unit in duration \"30\""),
            ("1m30", "time: missing unit in duration \"1m30\""),
            ("1q", "time: unknown unit \"q\" in duration \"1q\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            ("1d2h", "time: unknown unit \"d\" in duration \"1d2h\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("99999999999999999999s", "time: invalid duration \"99999999999999999999s\""),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        }
        assert_eq!(parse_unsigned("-1s").unwrap_err().to_string(), "duration \"-1s\" must not be negative");
        assert_eq!(parse_unsigned("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(format_unsigned(Duration::MAX), format(i64::MAX));
    }

    proptest! {
        #[test]
        fn round_trip(nanos in any::<i64>()) {
            prop_assert_eq!(parse(&format(nanos)), Ok(nanos));
        }

        #[test]
        fn short_ones_round_trip(nanos in -10_000_000_000_i64..10_000_000_000) {
            prop_assert_eq!(parse(&format(nanos)), Ok(nanos));
        }

        #[test]
        fn junk_never_panics(text in "[-+.0-9a-zµ ]{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_never_panics(text in "\\PC{0,16}") {
            let _ = parse(&text);
        }
    }
}
