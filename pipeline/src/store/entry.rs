//! The record that a key has a result: the key in clear, the digests of the outputs, and who made them.
//!
//! Its file carries a checksum of its own, so that a flipped bit here never makes a good object look bad.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::key::{Material, canonical};

/// One finished result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The key: the BLAKE3 of `material`.
    pub key: String,
    /// The key in clear.
    pub material: Material,
    /// One row for each output port.
    pub outputs: Vec<Output>,
    /// Who made it; a fact about the past, not part of the result.
    pub made: Made,
}

/// One file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub port: String,
    pub kind: String,
    pub format: u32,
    pub extension: String,
    /// BLAKE3 of the content: the name of the object.
    pub digest: String,
    pub bytes: u64,
}

/// Where a result came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub experiment: String,
    pub stage: String,
    pub run: String,
    pub command: String,
    pub host: String,
    /// UTC, `2025-01-31T12:00:00Z`.
    pub finished: String,
    pub seconds: f64,
}

impl Entry {
    /// The output of a port.
    pub fn output(&self, port: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.port == port)
    }

    /// The text of the entry's file.
    pub fn to_text(&self) -> String {
        let entry = serde_json::to_value(self).expect("an entry is plain JSON: maps with text keys");
        let file = serde_json::json!({ "checksum": checksum(&entry), "entry": entry });
        format!("{file:#}\n")
    }

    /// Reads the text of the entry's file; `None` where it is not what was written.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let mut file: Value = serde_json::from_slice(text).ok()?;
        let entry = file["entry"].take();
        let whole = file["checksum"] == checksum(&entry);
        whole.then(|| serde_json::from_value(entry).ok())?
    }
}

fn checksum(entry: &Value) -> String {
    blake3::hash(canonical(entry).as_bytes()).to_hex().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Map, json};

    use super::*;

    pub fn entry() -> Entry {
        let material = Material {
            engine: 1,
            kind: "toy".into(),
            version: 1,
            config: json!({ "x": 0.1 }),
            inputs: Map::new(),
            outputs: Map::new(),
            assets: vec![],
        };
        Entry { key: material.key(), material, outputs: vec![], made: Made { seconds: 0.25, ..Made::default() } }
    }

    #[test]
    fn comes_back_and_no_flipped_bit_goes_unseen() {
        let text = entry().to_text().into_bytes();
        assert_eq!(Entry::from_text(&text).unwrap(), entry());
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 4;
            // A bit in the white space between two fields changes nothing that is read.
            assert!(Entry::from_text(&flipped).is_none_or(|read| read == entry()), "byte {at}");
        }
    }
}
