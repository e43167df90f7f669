//! Node metadata as TXT records.

/// The text of one pair: the value alone for keys that begin with `rfc1035-`, else `key=value` after
/// RFC 1464.
pub fn of_pair(key: &str, value: &str) -> Vec<u8> {
    let prefix = key.get(..8).filter(|prefix| prefix.eq_ignore_ascii_case("rfc1035-"));
    if prefix.is_some() {
        return unescaped(value.as_bytes());
    }
    let quoted = key.replace('`', "``").replace('=', "`=");
    let rest = quoted.trim_start_matches(' ');
    let core = rest.trim_end_matches(' ');
    let blanks = |count: usize| "` ".repeat(count);
    let text = format!(
        "{}{core}{}={}",
        blanks(quoted.len() - rest.len()),
        blanks(rest.len() - core.len()),
        value.replace('`', "``")
    );
    unescaped(text.as_bytes())
}

/// What Consul's writer makes of backslashes: it takes them for the escapes of zone files, `\X` and `\DDD`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    if !text.contains(&b'\\') {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let number = after.first_chunk::<3>().filter(|digits| digits.iter().all(u8::is_ascii_digit));
        if let Some(digits) = number {
            let number =
                digits.iter().fold(0_u8, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit - b'0'));
            out.push(number);
            rest = after.get(3..).unwrap_or_default();
        } else if let Some((literal, after)) = after.split_first() {
            out.push(*literal);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let table = [
            ("rack", "r7", "rack=r7"),
            ("rfc1035-00", "plain value", "plain value"),
            ("RFC1035-b", "", ""),
            ("empty", "", "empty="),
            ("a`b=c", "d`e=f", "a``b`=c=d``e=f"),
            (" k  ", "v", "` k` ` =v"),
            ("k", r"a\b\065\", "k=abA"),
            ("größe", "ä", "größe=ä"),
        ];
        for (key, value, want) in table {
            assert_eq!(String::from_utf8_lossy(&of_pair(key, value)), want, "{key}={value}");
        }
    }
}
