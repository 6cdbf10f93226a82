//! Amazon reviews as McAuley's group publishes them, a pair of files per category. The fields of a line decide the release:
//!
//! | release | a review | metadata |
//! |---|---|---|
//! | 2014, 2018 (Ni et al. 2019) | `reviewerID`, `asin`, `overall`, `unixReviewTime` in seconds | `asin`, `title`, `category` or `categories` |
//! | 2023 (Hou et al. 2024) | `user_id`, `parent_asin`, `rating`, `timestamp` in milliseconds | `parent_asin`, `title`, `categories`, `main_category` |
//!
//! Lines are JSON, or Python literals in the metadata of 2014; a file may also be one array of records. Both files may end in `.gz`.
//! In 2023 the item is the parent product, as its authors advise: variants of a product are one item. The "ratings only" CSV of any
//! release is also read ([`ratings_only`](crate::ingest::readers::ratings_only)). Left out: texts, votes, prices.

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::check_asset_path;
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::casts;
use crate::ingest::readers::decompress::decompressed;
use crate::ingest::readers::item_table::{ItemRecord, assemble, describe_items};
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::ratings_only;
use crate::ingest::readers::record::{Record, number, record, text, texts};
use crate::ingest::readers::row_counts::ExpectedRows;
use crate::ingest::readers::shard::Row;
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::{NoInputs, Outputs};

/// The field that only reviews of 2023 have.
const OF_2023: &str = "parent_asin";

/// `ingest.amazon`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amazon {
    /// The folder with the files.
    pub asset: AssetName,
    /// The file of reviews, such as `Books_5.json.gz` or `Books.jsonl.gz`; or of ratings only, such as `ratings_Books.csv` or
    /// `Books.csv.gz`.
    pub reviews: String,
    /// The file of metadata, such as `meta_Books.json.gz` or `meta_Books.jsonl.gz`. When absent, titles are the ids.
    #[serde(default)]
    pub metadata: Option<String>,
    /// Treatment of invalid reviews and item records.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Expected numbers of rows; copies of datasets are often altered.
    #[serde(default)]
    pub expected_rows: ExpectedRows,
}

impl Stage for Amazon {
    const KIND: &'static str = "ingest.amazon";
    /// 1: first. 2: times are rounded down; numbers out of range and an empty log are refused. 3: a byte-order mark is not part of the
    /// text; integers in floats are ids; metadata that is not UTF-8 is invalid. 4: ratings only: the unit of times is found out; a year beyond 9999 is refused.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read Amazon reviews with their metadata (2014, 2018, 2023)";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        check_asset_path(Some(&self.reviews), "reviews")?;
        check_asset_path(self.metadata.as_deref(), "metadata")
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let file = decompressed(&folder.join(&self.reviews), cx)?;
        let (mut read, times) = if file.path().extension().is_some_and(|extension| extension == "csv") {
            ratings_only::read(&file, cx)?
        } else {
            let file = as_lines(file.clone(), cx)?;
            let lines = Lines {
                file: &file,
                header: 0,
                quoted_by: None,
                columns: ["user", "item"],
                known: [None, None],
                parse: &|line, take| take(record(line).and_then(|record| review(&record))),
            };
            // Only for the warning about implausible times, which names the unit.
            let is_of_2023 = file.first_line()?.contains(OF_2023);
            let times = if is_of_2023 { TimeForm::MILLISECONDS } else { TimeForm::SECONDS };
            (lines.read(cx)?, times.clone())
        };
        read.finish_in(times.unit(), None, file.name(), self.on_bad_row, cx)?;
        let items = match &self.metadata {
            Some(metadata) => {
                let ids = std::mem::take(&mut read.new[1]);
                Some(describe_items(ids, decompressed(&folder.join(metadata), cx)?, self.on_bad_row, cx, product)?)
            }
            None => None,
        };
        let rows = read.rows;
        let outputs = assemble(read, None, items);
        self.expected_rows.check(file.name(), rows, &outputs)?;
        outputs.note_counts(cx);
        Ok(outputs)
    }
}

fn review(review: &Record) -> Result<Row<'static>, Fault> {
    let is_of_2023 = review.contains_key(OF_2023);
    let [user, item, rating, time] = if is_of_2023 {
        ["user_id", "parent_asin", "rating", "timestamp"]
    } else {
        ["reviewerID", "asin", "overall", "unixReviewTime"]
    };
    let id = |name: &str| match text(review, name)? {
        id if id.is_empty() => Err(Fault::value(name, "", "an id")),
        id => Ok(id),
    };
    let form = if is_of_2023 { TimeForm::MILLISECONDS } else { TimeForm::SECONDS };
    let timestamp = form.of_json(review.get(time), time)?;
    let rating = casts::rating(number(review, rating)?, rating)?;
    Ok(Row { user: id(user)?.into(), item: id(item)?.into(), rating, timestamp })
}

fn product(product: &Record) -> Result<ItemRecord, Fault> {
    let parent = text(product, "parent_asin")?;
    let id = if parent.is_empty() { text(product, "asin")? } else { parent };
    if id.is_empty() {
        return Err(Fault::value("asin", "", "an id"));
    }
    let listed = ["category", "categories", "main_category"].into_iter().map(|name| texts(product.get(name)));
    let genres = listed.into_iter().find(|genres| !genres.is_empty()).unwrap_or_default();
    Ok(ItemRecord { id, title: text(product, "title")?, year: None, genres })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(reviews: &str, metadata: impl AsRef<[u8]>, extra: &str) -> Result<Outputs> {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("r.json"), reviews).unwrap();
        std::fs::write(folder.path().join("m.json"), metadata).unwrap();
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("amazon", folder.path());
        let text = format!(r#"{{"asset": "amazon", "reviews": "r.json", "metadata": "m.json"{extra}}}"#);
        serde_json::from_str::<Amazon>(&text).unwrap().run(NoInputs {}, &cx)
    }

    const OLD: &str = r#"{"overall": 5.0, "vote": "2", "verified": true, "reviewTime": "01 1, 2018", "reviewerID": "AUI6", "asin": "5120053084", "style": {"Size:": "Large"}, "reviewText": "hot", "unixReviewTime": 1514764800}
{"overall": 2.0, "reviewerID": "AUI6", "asin": "0000031852", "unixReviewTime": 1514764801}
"#;

    #[test]
    fn the_release_of_2018_and_that_of_2014() {
        let metadata = r#"{"asin": "5120053084", "title": " Pink Tutu ", "category": ["Clothing", "Girls"], "price": "$3"}
{'asin': '0000031852', 'title': "Girl's", 'categories': [['Sports', 'Dance'], ['Toys']]}
{"asin": "5120053084", "title": "again", "category": []}
{"asin": "0", "title": "never reviewed"}
"#;
        let outputs = run(OLD, metadata, r#", "expected_rows": {"interactions": 2, "items": 2}"#).unwrap();
        assert_eq!(
            (outputs.interactions.rating, outputs.interactions.timestamp),
            (vec![5.0, 2.0], vec![1_514_764_800, 1_514_764_801])
        );
        assert_eq!(
            (outputs.users.id, outputs.items.title),
            (vec!["AUI6".to_owned()], vec!["Pink Tutu".to_owned(), "Girl's".to_owned()])
        );
        assert_eq!(outputs.items.genres, [vec!["Clothing", "Girls"], vec!["Sports", "Dance", "Toys"]]);
    }

    #[test]
    fn a_mark_an_array_and_floats_change_nothing() {
        let whole = run(OLD, "", "").unwrap();
        let marked = format!("\u{feff}{OLD}");
        let array = format!("[{}]", OLD.trim_end().replace('\n', ",\n"));
        let floats = OLD.replace("1514764800", "1514764800.0").replace("\"AUI6\"", "77.0");
        for (reviews, user) in [(&marked, "AUI6"), (&array, "AUI6"), (&floats, "77")] {
            let read = run(reviews, "", r#", "on_bad_row": "drop""#).unwrap();
            assert_eq!(read.interactions, whole.interactions, "{reviews}");
            assert_eq!((&*read.users.id, &read.items.id), (&[user.to_owned()][..], &whole.items.id));
        }
    }

    #[test]
    fn the_release_of_2023() {
        let reviews = r#"{"rating": 4.0, "title": "Nice", "text": "x", "images": [], "asin": "B00Y", "parent_asin": "B01C", "user_id": "AGKH", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": true}
"#;
        let metadata = r#"{"main_category": "All Beauty", "title": "Gel", "average_rating": 4.8, "parent_asin": "B01C", "categories": []}
"#;
        let outputs = run(reviews, metadata, "").unwrap();
        assert_eq!((outputs.interactions.timestamp, outputs.items.id), (vec![1_588_687_728], vec!["B01C".to_owned()]));
        assert_eq!(
            (outputs.items.title, outputs.items.genres),
            (vec!["Gel".to_owned()], vec![vec!["All Beauty".to_owned()]])
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |reviews: &str, metadata: &str| run(reviews, metadata, "").err().unwrap().to_string();
        let no_rating = error(&OLD.replace("2.0", "null"), "");
        assert!(
            no_rating.contains("r.json:2: column `overall`: found \"null\", wanted a finite number"),
            "{no_rating}"
        );
        assert!(error("{}\n", "").contains("r.json:1: column `unixReviewTime`"));
        assert!(error(OLD, "\n<html>\n").contains("m.json:2: found \"<html>\", wanted a record"));
        let latin = b"{\"asin\": \"5120053084\", \"title\": \"Caf\xe9\"}\n";
        let latin = run(OLD, latin, "").err().unwrap().to_string();
        assert!(latin.contains("m.json:1: found") && latin.contains("wanted UTF-8"), "{latin}");
        let dropped = run(&OLD.replace("2.0", "null"), "", r#", "on_bad_row": "drop""#).unwrap();
        assert_eq!(dropped.items.id, ["5120053084"], "a dropped row numbers nothing");
    }
}
