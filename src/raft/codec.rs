//! One version byte and named-field msgpack: how this room writes its own small records, on disk
//! and between servers.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Nesting that no record of this room comes near.
const MAX_DEPTH: usize = 12;

/// Encodes a record.
pub(super) fn encode<T: Serialize>(version: u8, record: &T) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(128);
    out.push(version);
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    record.serialize(&mut serializer).map_err(|error| error.to_string())?;
    Ok(out)
}

/// Decodes a record of exactly this version, with nothing behind it.
pub(super) fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&found, body)) if found == version => {
            let mut rest = body;
            let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
            deserializer.set_max_depth(MAX_DEPTH);
            let record = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
            if rest.is_empty() { Ok(record) } else { Err(format!("{} bytes too many", rest.len())) }
        }
        Some((found, _)) => Err(format!("version {found}, this build reads {version}")),
        None => Err("nothing there".into()),
    }
}
