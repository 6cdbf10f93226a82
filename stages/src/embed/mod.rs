//! `embed`: a vector for each item of a catalogue from its text, by a model inside the process.
//!
//! Items with similar texts get similar vectors, also those that nobody has rated. Worlds, policies and discriminators read them as
//! features of the items. The stage reads no rating. Each distinct text is embedded once and stored like an answer of a language
//! model, so that an interrupted run continues, and other experiments with the same model reuse it.

mod template;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Array, ItemVectors, Items};
use crate::llm::{EmbedderConfig, cached_embeddings};
use template::ItemTemplate;

/// `embed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embed {
    /// The model that embeds the texts.
    pub embedder: EmbedderConfig,
    /// The text of an item as a minijinja template. Variables: `name` (the title, or a description where the catalogue has none),
    /// `title` (empty where it has none), `year` (none where unknown), `genres` (a list), and `features` (a map of texts). By default
    /// the name, and behind a title its year and genres: `Heat (1995): Action, Crime`.
    #[serde(default = "template::default_template")]
    pub template: String,
}

pipeline::ports! {
    /// The catalogue.
    pub struct Inputs {
        /// The items.
        items: Items,
    }
}

pipeline::ports! {
    /// The vectors.
    pub struct Outputs {
        /// One vector for each item; all 0 where its text is empty.
        item_vectors: ItemVectors,
    }
}

impl Stage for Embed {
    const KIND: &'static str = "embed";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "turn the texts of items into vectors, by a model inside the process";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.embedder.asset().clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        ItemTemplate::new(&self.template).map(drop).map_err(|message| ("template".to_owned(), message))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let items = &inputs.items;
        ensure!(!items.is_empty(), "the catalogue is empty");
        let texts = ItemTemplate::new(&self.template).map_err(anyhow::Error::msg)?.texts(items)?;
        let distinct: Vec<String> =
            texts.iter().filter(|text| !text.is_empty()).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        ensure!(
            !distinct.is_empty(),
            "no item has a text\nhelp: name the catalogue's columns of titles or genres where the log is read, or write a `template` \
             of the features that it has"
        );
        let embedder = self.embedder.open(cx)?;
        let values = ValueStore::open(cx.calls())?;
        let bar = cx.bar("texts", Some(distinct.len() as u64), "texts");
        let (mut rows, mut tokens) = (Vec::with_capacity(distinct.len()), 0);
        for texts in distinct.chunks(UNIT) {
            cx.check_cancelled()?;
            let found = cached_embeddings(&*embedder, &values, texts)?;
            tokens += found.tokens;
            rows.extend(found.vectors);
            bar.inc(texts.len() as u64);
        }
        let width = rows[0].len();
        let nothing = vec![0.0; width];
        let row = |text: &String| distinct.binary_search(text).map_or(&nothing[..], |at| &rows[at][..]);
        let data: Vec<f32> = texts.iter().flat_map(|text| row(text).iter().copied()).collect();
        cx.note("texts", format!("{} distinct ones of {} items, {width} numbers each", distinct.len(), items.len()));
        let stored = if tokens == 0 { "all vectors were stored already".to_owned() } else { format!("{tokens} new") };
        cx.note("tokens", stored);
        let silent = texts.iter().filter(|text| text.is_empty()).count();
        if silent > 0 {
            cx.warn(format!("{silent} of {} items have no text: their vectors are 0", items.len()));
        }
        // A model's identity is JSON: it is not quoted twice.
        let space = embedder.space();
        let model = serde_json::from_str(&space).unwrap_or_else(|_| serde_json::Value::from(space));
        let space = serde_json::json!({ "model": model, "template": self.template }).to_string();
        Ok(Outputs {
            item_vectors: ItemVectors { vectors: Array::new(&[items.len(), width], data), space, columns: vec![] },
        })
    }
}

/// Texts between two looks at whether the run is cancelled.
const UNIT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::sentence_encoder::toy;

    fn run(template: &str, titles: &[&str]) -> Result<[ItemVectors; 2]> {
        let folder = tempfile::tempdir()?;
        toy::write_toy(&folder.path().join("model"))?;
        let mut cx = Context::detached(folder.path());
        cx.add_asset("minilm", &folder.path().join("model"));
        let stage: Embed = serde_json::from_value(serde_json::json!({
            "embedder": { "sentence_encoder": { "asset": "minilm" } }, "template": template,
        }))?;
        let items = Items {
            id: (0..titles.len()).map(|k| k.to_string()).collect(),
            title: titles.iter().map(|&title| title.to_owned()).collect(),
            year: vec![None; titles.len()],
            genres: vec![vec![]; titles.len()],
            ..Items::default()
        };
        let first = stage.run(Inputs { items: items.clone() }, &cx)?;
        Ok([first.item_vectors, stage.run(Inputs { items }, &cx)?.item_vectors])
    }

    #[test]
    fn equal_texts_have_equal_vectors_and_an_empty_one_has_none() {
        let [found, again] = run("{{ title }}", &["Toy Story", "War", "toy story", ""]).unwrap();
        assert_eq!(found, again, "from the store");
        assert_eq!((found.vectors.shape.clone(), found.columns.len()), (vec![4, 32], 0));
        let row = |item: usize| found.vectors.row(item);
        assert_eq!((row(0), row(3)), (row(2), [0.0; 32].as_slice()));
        assert_ne!(row(0), row(1));
        assert!(found.space.contains("sentence_encoder") && found.space.contains("{{ title }}"), "{}", found.space);
    }

    #[test]
    fn a_catalogue_without_texts_is_refused() {
        let error = run("{{ title }}", &["", ""]).err().unwrap().to_string();
        assert!(error.starts_with("no item has a text\nhelp: name the catalogue's columns"), "{error}");
    }
}
