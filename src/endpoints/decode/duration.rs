//! Go's notation for durations: `1h5m30.5s`, in whole nanoseconds.

use super::{DecodeError, Decoded, Json};

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration in nanoseconds, as Go's `time.ParseDuration` does.
///
/// # Errors
/// [`DecodeError::Text`] with Go's words for what is wrong.
pub fn parse(text: &str) -> Decoded<i64> {
    let invalid = || DecodeError::Text(format!("time: invalid duration {text:?}"));
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
        let whole_end = digits(rest);
        let (whole, after) = rest.split_at(whole_end);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(fraction) => fraction.split_at(digits(fraction)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(DecodeError::Text(format!("time: missing unit in duration {text:?}")));
        }
        let scale =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(|| {
                DecodeError::Text(format!("time: unknown unit {unit:?} in duration {text:?}"))
            })?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(scale).ok_or_else(invalid)?;
        total = total
            .checked_add(part)
            .and_then(|total| total.checked_add(fraction_of(fraction, scale)))
            .ok_or_else(invalid)?;
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// `0.fraction` of a unit, rounded down; digits beyond what matters are passed over.
fn fraction_of(fraction: &str, scale: u64) -> u64 {
    let (mut value, mut divisor) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    u64::try_from(value * u128::from(scale) / divisor).unwrap_or(u64::MAX)
}

/// Writes a duration as Go's `Duration.String` does: `1m30s`, `1.5ms`, `0s`.
pub fn format(nanoseconds: i64) -> String {
    let mut out = String::with_capacity(16);
    if nanoseconds < 0 {
        out.push('-');
    }
    let total = nanoseconds.unsigned_abs();
    let (scale, unit) = match total {
        0 => return "0s".into(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (mut whole, fraction) = (total / scale, total % scale);
    if unit == "s" {
        let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
        if hours > 0 {
            out.push_str(&hours.to_string());
            out.push('h');
        }
        if whole >= 60 {
            out.push_str(&minutes.to_string());
            out.push('m');
        }
        whole %= 60;
    }
    out.push_str(&whole.to_string());
    if fraction > 0 {
        let width = scale.ilog10() as usize;
        out.push_str(format!(".{fraction:0width$}").trim_end_matches('0'));
    }
    out.push_str(unit);
    out
}

impl Json {
    /// A duration as a string or as a number of nanoseconds; anything else counts as 0, as in the
    /// structs of Consul that read durations themselves.
    ///
    /// # Errors
    /// [`DecodeError::Text`] for a string that is no duration.
    #[expect(clippy::cast_possible_truncation, reason = "Go converts float64 to int64 the same way")]
    pub fn duration(self) -> Decoded<i64> {
        match self {
            Self::String(text) => parse(&text),
            Self::Int(value) => Ok(value),
            Self::Float(value) => Ok(value as i64),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_durations() {
        let table = [
            ("0", Ok(0)),
            ("5s", Ok(5_000_000_000)),
            ("+5s", Ok(5_000_000_000)),
            ("-1.5h", Ok(-5_400_000_000_000)),
            ("1h5m30.25s", Ok(3_930_250_000_000)),
            ("3us", Ok(3_000)),
            ("3µs", Ok(3_000)),
            (".5s", Ok(500_000_000)),
            ("5.s", Ok(5_000_000_000)),
            ("0.0000000001s", Ok(0)),
            ("0.3333333333333333333h", Ok(1_199_999_999_999)),
            ("", Err("time: invalid duration \"\"")),
            ("-", Err("time: invalid duration \"-\"")),
            ("x", Err("time: invalid duration \"x\"")),
            (".s", Err("time: invalid duration \".s\"")),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("5q", Err("time: unknown unit \"q\" in duration \"5q\"")),
            ("9223372036854775808ns", Err("time: invalid duration \"9223372036854775808ns\"")),
            ("99999999999999h", Err("time: invalid duration \"99999999999999h\"")),
        ];
        for (text, want) in table {
            assert_eq!(parse(text).map_err(|error| error.to_string()), want.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn writes_go_durations() {
        let table = [
            (0, "0s"),
            (5, "5ns"),
            (1_500, "1.5µs"),
            (1_000_000, "1ms"),
            (1_000_000_000, "1s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_930_250_000_000, "1h5m30.25s"),
            (-1_000_000, "-1ms"),
            (1_000_000_001, "1.000000001s"),
        ];
        for (nanoseconds, want) in table {
            assert_eq!(format(nanoseconds), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(nanoseconds in (i64::MIN + 1)..i64::MAX) {
            proptest::prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
