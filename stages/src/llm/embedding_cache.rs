//! A cache of embeddings: each text is embedded once. Like answers, vectors are stored in the store of calls, under their
//! embedding space and the text.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use pipeline::checkpointing::ValueStore;
use serde_json::json;

use super::{Embedder, Embeddings, key};

/// The number of new texts that are embedded before their vectors are stored; a kill repeats at most these.
const BATCH: usize = 64;

/// The vectors of `texts` in their order; `embedder` computes those that are not stored. [`Embeddings::tokens`] counts the new
/// ones.
///
/// # Errors
/// As [`Embedder::embed`]; when the store cannot be read or written; when vectors differ in length.
pub fn cached_embeddings(embedder: &dyn Embedder, values: &ValueStore, texts: &[String]) -> Result<Embeddings> {
    let space = embedder.space();
    let key = |text: &str| key(&space, &json!({ "embed": text }).to_string());
    let mut known: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let mut new: Vec<String> = Vec::new();
    let mut tokens = 0;
    for text in texts {
        if known.contains_key(text.as_str()) {
            continue;
        }
        let stored = values.get(&key(text))?.map(|stored| parse(text, &stored)).transpose()?;
        if stored.is_none() {
            new.push(text.clone());
        }
        known.insert(text, stored.unwrap_or_default());
    }
    for batch in new.chunks(BATCH) {
        let found = embedder.embed(batch)?;
        tokens += found.tokens;
        for (text, vector) in batch.iter().zip(found.vectors) {
            // The stored vector counts: another run may have stored it first.
            let stored = values.put_new(&key(text), &serde_json::to_vec(&vector)?)?;
            let vector = parse(text, &stored)?;
            known.get_mut(text.as_str()).context("a text that was not requested")?.clone_from(&vector);
        }
    }
    let vectors: Vec<Vec<f32>> = texts.iter().map(|text| known[text.as_str()].clone()).collect();
    let width = vectors.first().map_or(0, Vec::len);
    ensure!(vectors.iter().all(|vector| vector.len() == width && width > 0), "the vectors of texts differ in length");
    Ok(Embeddings { vectors, tokens })
}

fn parse(text: &str, stored: &[u8]) -> Result<Vec<f32>> {
    serde_json::from_slice(stored).with_context(|| format!("the stored value of the text {text:?} is no vector"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Embeds a text as its length and a third, and records its texts.
    struct Counting(Mutex<Vec<String>>);

    impl Embedder for Counting {
        fn space(&self) -> String {
            "lengths".into()
        }
        fn embed(&self, texts: &[String]) -> Result<Embeddings> {
            self.0.lock().unwrap().extend(texts.iter().cloned());
            let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0 / 3.0]).collect();
            Ok(Embeddings { vectors, tokens: texts.len() as u64 })
        }
    }

    #[test]
    fn each_text_is_embedded_once() {
        let folder = tempfile::tempdir().unwrap();
        let values = ValueStore::open(folder.path()).unwrap();
        let embedder = Counting(Mutex::default());
        let ask = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            cached_embeddings(&embedder, &values, &texts).unwrap()
        };
        let third = 1.0_f32 / 3.0;
        let first = Embeddings { vectors: vec![vec![1.0, third], vec![2.0, third], vec![1.0, third]], tokens: 2 };
        assert_eq!(ask(&["a", "bb", "a"]), first);
        assert_eq!(ask(&["bb", "ccc"]), Embeddings { vectors: vec![vec![2.0, third], vec![3.0, third]], tokens: 1 });
        assert_eq!(*embedder.0.lock().unwrap(), ["a", "bb", "ccc"]);
        assert_eq!(ask(&[]), Embeddings::default());
    }
}
