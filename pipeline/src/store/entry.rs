//! The record that a key has a result: the key in clear, the digests of the outputs, and who made them.
//!
//! Its file carries a checksum of its own, so that a flipped bit here never makes a good object look bad.

use serde::{Deserialize, Serialize};

use crate::key::KeyMaterial;

/// One finished result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The key: the BLAKE3 of `material`.
    pub key: String,
    /// The key in clear.
    pub material: KeyMaterial,
    /// One row for each output port.
    pub outputs: Vec<Output>,
    /// Who made it; a fact about the past, not part of the result.
    pub made: Made,
}

impl Entry {
    /// Kind and digest of every input, by port.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let rows = self.material.inputs.values().flat_map(|rows| rows.as_array().into_iter().flatten());
        rows.filter_map(|row| Some((row["kind"].as_str()?, row["digest"].as_str()?)))
    }
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
    /// Whether it went on from what an interrupted run had done, whose time is not in `seconds`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// Where it was trained, if that is what the stage does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether the stage said that another run might give it what it lacks; see [`crate::Context::incomplete`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The assets that it read, in the order of the key's digests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<AssetMade>,
}

/// An asset as the experiment named it, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AssetMade {
    pub name: String,
    /// `pip recbole==1.2.1 · recbole/dataset_example/ml-100k/`.
    pub origin: String,
    /// Where it lay.
    pub path: String,
}

/// What an entry's file turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    Whole(Box<Entry>),
    Damaged,
    /// Whole as far as one can tell, of a form that this program does not know.
    Newer,
}

impl Entry {
    /// The output of a port.
    pub fn output(&self, port: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.port == port)
    }

    /// The text of the entry's file: an object of `checksum` and `entry`.
    pub fn to_text(&self) -> String {
        let entry = serde_json::to_string_pretty(self).expect("an entry is plain JSON: maps with text keys");
        let entry = entry.replace('\n', "\n  ");
        format!("{BEFORE}{}{BETWEEN}{entry}{AFTER}", checksum(&entry))
    }

    /// Reads the text of the entry's file.
    pub fn from_text(text: &[u8]) -> Read {
        let parts = || {
            let text = std::str::from_utf8(text).ok()?.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
            text.split_once(BETWEEN).filter(|(sum, entry)| *sum == checksum(entry))
        };
        match parts() {
            Some((_, entry)) => serde_json::from_str(entry).map_or(Read::Newer, |entry| Read::Whole(Box::new(entry))),
            None if format_of(text).is_some_and(|format| format > FORMAT) => Read::Newer,
            None => Read::Damaged,
        }
    }
}

/// Raised when the form of the file changes; the text then carries it as `format` beside `checksum` and `entry`.
const FORMAT: u64 = 1;

fn format_of(text: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(text).ok()?.get("format")?.as_u64()
}

const BEFORE: &str = "{\n  \"checksum\": \"";
const BETWEEN: &str = "\",\n  \"entry\": ";
const AFTER: &str = "\n}\n";

/// Of the text as it stands in the file: a number may come back from JSON changed in its last bit, so what was read cannot be
/// written again to be compared.
fn checksum(entry: &str) -> String {
    blake3::hash(entry.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Map, json};

    use super::*;

    pub fn entry() -> Entry {
        let material = KeyMaterial {
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

    fn whole(text: &[u8]) -> Option<Entry> {
        match Entry::from_text(text) {
            Read::Whole(entry) => Some(*entry),
            Read::Damaged | Read::Newer => None,
        }
    }

    #[test]
    fn a_form_of_the_future_is_not_damage() {
        let text = entry().to_text();
        let other = text.split_once(BETWEEN).unwrap().1.strip_suffix(AFTER).unwrap().replace("\"made\"", "\"maker\"");
        let renamed = format!("{BEFORE}{}{BETWEEN}{other}{AFTER}", checksum(&other));
        for newer in [&renamed, r#"{"format": 2, "sum": "blake4:0"}"#] {
            assert!(matches!(Entry::from_text(newer.as_bytes()), Read::Newer), "{newer}");
        }
        assert!(matches!(Entry::from_text(br#"{"format": 1}"#), Read::Damaged));
    }

    #[test]
    fn comes_back_and_no_flipped_bit_goes_unseen() {
        let text = entry().to_text().into_bytes();
        assert_eq!(whole(&text).unwrap(), entry());
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 4;
            assert!(matches!(Entry::from_text(&flipped), Read::Damaged), "byte {at}");
            assert!(matches!(Entry::from_text(&text[..at]), Read::Damaged), "cut at byte {at}");
        }
    }

    #[test]
    fn a_number_of_any_length_comes_back_whole() {
        for step in 0..1000 {
            let mut entry = entry();
            entry.made.seconds = 1.0 + f64::from(step) / 997.0;
            let text = entry.to_text();
            assert!(whole(text.as_bytes()).is_some(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["entry"]["made"].is_object());
        }
    }
}
