//! Durations in request bodies: Go's notation or a number of nanoseconds.

use super::{DecodeError, Decoded, Json};
use crate::duration;

impl Json {
    /// A duration as a string or as a number of nanoseconds; anything else counts as 0, as in the
    /// structs of Consul that read durations themselves.
    ///
    /// # Errors
    /// [`DecodeError::Text`] with Go's words for a string that is no duration.
    #[expect(clippy::cast_possible_truncation, reason = "Go converts float64 to int64 the same way")]
    pub fn duration(self) -> Decoded<i64> {
        match self {
            Self::String(text) => {
                duration::parse(&text).map_err(|error| DecodeError::Text(error.to_string()))
            }
            Self::Int(value) => Ok(value),
            Self::Float(value) => Ok(value as i64),
            _ => Ok(0),
        }
    }
}
