//! Scores of items that were made elsewhere, as a table of ids and scores: CSV, TSV, JSON records, Parquet.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::{ItemScores, Items, check_asset_path};
use crate::ingest::readers::bad_rows::OnBadRow;
use crate::ingest::readers::header::check_unique;
use crate::ingest::readers::record::number;
use crate::ingest::readers::side_table::{Quotes, SideTable};

/// `ingest.item_scores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemScoreTable {
    /// The folder with the file.
    pub asset: AssetName,
    /// The file in the asset's folder.
    pub file: String,
    /// The names of all columns in their order, for CSV or TSV without a header. When absent, the first line is the header.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// The column of item ids, which are unique. Rows with ids that the catalogue lacks are ignored and counted.
    pub item: String,
    /// The column of scores, finite numbers on any scale; higher is better. An empty or absent value is no score, as is an item
    /// without a row.
    pub score: String,
    /// Whether fields of CSV and TSV may be in double quotes.
    #[serde(default)]
    pub quotes: Quotes,
    /// Treatment of invalid rows.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

pipeline::ports! {
    /// The catalogue.
    pub struct Inputs {
        /// The catalogue whose ids the table has.
        items: Items,
    }
}

pipeline::ports! {
    /// The scores.
    pub struct Outputs {
        /// The score of each item of the catalogue.
        item_scores: ItemScores,
    }
}

impl Stage for ItemScoreTable {
    const KIND: &'static str = "ingest.item_scores";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "read scores of items that a model or a person gave elsewhere";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.names.as_ref().is_some_and(|names| check_unique("names".as_ref(), names).is_err()) {
            return Err(("names".into(), "unique names".into()));
        }
        check_asset_path(Some(&self.file), "file")
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let path = cx.asset(&self.asset)?.join(&self.file);
        let table = SideTable::read(&path, self.names.as_deref(), None, self.quotes, self.on_bad_row, cx)?;
        table.require_column(&self.score)?;
        let places: HashMap<&str, usize> = inputs.items.id.iter().map(String::as_str).zip(0..).collect();
        let mut score = vec![None; inputs.items.len()];
        let (mut strangers, mut example) = (0, None);
        table.for_each_id(&self.item, self.on_bad_row, cx, |id, record| {
            let value = match record.get(&self.score) {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) if text.trim().is_empty() => None,
                Some(_) => Some(number(record, &self.score)?),
            };
            match places.get(id.as_str()) {
                Some(&item) => score[item] = value,
                None => {
                    strangers += 1;
                    example.get_or_insert(id);
                }
            }
            Ok(())
        })?;
        let scored = score.iter().flatten().count();
        let unlike = match (&example, inputs.items.id.first()) {
            (Some(found), Some(wanted)) => format!(": it has ids such as `{found}`, the catalogue such as `{wanted}`"),
            _ => String::new(),
        };
        ensure!(
            scored > 0,
            "{} has no score of any of the {} items of the catalogue{unlike}\nhelp: name the column of the catalogue's ids in `item`",
            table.path.display(),
            score.len()
        );
        cx.note("scored", format!("{scored} of {} items", score.len()));
        if strangers > 0 {
            cx.note("ignored", format!("{strangers} rows with ids that the catalogue lacks"));
        }
        Ok(Outputs { item_scores: ItemScores { score, questions: vec![] } })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items() -> Items {
        Items { id: ["7", "b", "9", "c"].map(Into::into).to_vec(), ..Items::default() }
    }

    fn read(name: &str, text: &str, with: Value) -> Result<Vec<Option<f64>>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("x", folder.path());
        let mut config = json!({ "asset": "x", "file": name, "item": "movie", "score": "stars" });
        config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let stage: ItemScoreTable = serde_json::from_value(config)?;
        Ok(stage.run(Inputs { items: items() }, &cx)?.item_scores.score)
    }

    #[test]
    fn rows_find_their_items_and_what_is_not_there_is_no_score() {
        let expected = [Some(4.5), Some(-1.0), None, None];
        let csv = "stars,movie,why\n-1,b,bad\n4.5,7,\n3,zz,\n,9,unsure\n";
        assert_eq!(read("s.csv", csv, json!({})).unwrap(), expected);
        let records =
            "{\"movie\": 7, \"stars\": 4.5}\n{\"movie\": \"b\", \"stars\": \"-1\"}\n{\"movie\": 9, \"stars\": null}\n";
        assert_eq!(read("s.ndjson", records, json!({})).unwrap(), expected);
        let bare = "b\t-1\n7\t4.5\n";
        assert_eq!(read("s.tsv", bare, json!({ "names": ["movie", "stars"] })).unwrap(), expected);
    }

    #[test]
    fn what_is_no_table_of_scores_is_named() {
        let error = |text: &str, with: Value| format!("{:#}", read("s.csv", text, with).unwrap_err());
        let said = error("movie,stars\nx,1\ny,2\n", json!({}));
        assert!(said.contains("no score of any of the 4 items"), "{said}");
        assert!(said.contains("ids such as `x`, the catalogue such as `7`\nhelp: name the column"), "{said}");
        let said = error("movie,stars\n7,good\n", json!({}));
        assert!(said.contains("column `stars`: found \"good\""), "{said}");
        let said = error("movie,stars\n7,inf\n", json!({}));
        assert!(said.contains("column `stars`"), "{said}");
        let said = error("movie,stars\n7,1\n7,2\n", json!({}));
        assert!(said.contains("a unique id"), "{said}");
        assert!(error("movie,points\n7,1\n", json!({})).contains("has no column `stars`"));
        assert_eq!(
            read("s.csv", "movie,stars\n7,1\nb,x\n", json!({ "on_bad_row": "drop" })).unwrap()[..2],
            [Some(1.0), None]
        );
    }
}
