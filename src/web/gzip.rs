//! Compression of answers: whether a client wants it, and doing it.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Whether an `Accept-Encoding` header asks for gzip: it is listed and its weight is not 0.
pub fn accepts(header: &str) -> bool {
    let mut accepted = false;
    for coding in header.split(',') {
        let mut parts = coding.split(';').map(str::trim);
        if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) {
            continue;
        }
        let mut weight = Some(1.0);
        for parameter in parts {
            if let Some(text) = parameter.strip_prefix("q=") {
                weight = text.parse::<f64>().ok();
            }
        }
        if let Some(weight) = weight {
            accepted = weight > 0.0;
        }
    }
    accepted
}

/// Compresses a body. `None` if that fails; the body then goes out as it is.
pub fn compress(body: &[u8]) -> Option<Bytes> {
    // Level 1 costs a third of the default and answers here are small or made of repetitions.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 64), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn reads_accept_encoding() {
        let table = [
            ("", false),
            ("gzip", true),
            ("GZIP", true),
            ("gzip, deflate", true),
            ("deflate,gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("gzip;q=x", false),
            ("identity", false),
            ("*", false),
            ("x-gzip", false),
        ];
        for (header, want) in table {
            assert_eq!(accepts(header), want, "{header:?}");
        }
    }

    #[test]
    fn compresses() {
        for body in [vec![], vec![b'x'], vec![b'a'; 100_000]] {
            let compressed = compress(&body).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
            assert_eq!(back, body);
        }
    }
}
