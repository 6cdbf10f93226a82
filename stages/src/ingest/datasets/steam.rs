//! Steam reviews as McAuley's group publishes them. The file in the folder decides the format:
//!
//! | log | a line | with |
//! |---|---|---|
//! | `steam_reviews.json`, `steam_new.json` (Kang and McAuley 2018) | one review: `username`, `product_id`, `date` (2017-12-17), `hours` | `steam_games.json`: `id`, `app_name`, `genres`, `release_date` |
//! | `australian_user_reviews.json` (Pathak et al. 2017) | one user: `user_id`, `reviews` of `item_id`, `posted` ("Posted November 5, 2011."), `recommend` | the same |
//!
//! Each may end in `.gz`. The lines are Python literals or JSON. Left out: texts of reviews, votes, bundles, and the games that users
//! own.

use std::borrow::Cow;

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::{parse_date_time, parse_written};
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::casts::{self, Seconds};
use crate::ingest::readers::decompress::{decompressed, one_of};
use crate::ingest::readers::integers;
use crate::ingest::readers::item_table::{ItemRecord, assemble, describe_items};
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::line_log::{Emit, Lines};
use crate::ingest::readers::record::{Record, number, record, text, texts};
use crate::ingest::readers::row_counts::ExpectedRows;
use crate::ingest::readers::shard::Row;
use crate::ingest::{NoInputs, Outputs};

/// `ingest.steam`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steam {
    /// The folder with the log and, optionally, `steam_games.json`.
    pub asset: AssetName,
    /// The rating; these logs have no stars.
    #[serde(default)]
    pub rating: Rating,
    /// The year of dates without a year ("Posted July 3."): Steam omits the current one. When absent, such rows are invalid.
    #[serde(default)]
    pub year: Option<i64>,
    /// Treatment of invalid rows of the log and invalid game records.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Expected numbers of rows; copies of datasets are often altered.
    #[serde(default)]
    pub expected_rows: ExpectedRows,
}

/// The rating of a game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    /// 1 for each review.
    #[default]
    Reviewed,
    /// 1 where the game is recommended, 0 where not (`australian_user_reviews` only).
    Recommended,
    /// The hours played when the review was written (`steam_reviews` only; reviews without them are invalid).
    Hours,
}

const REVIEWS: [&str; 3] = ["steam_reviews.json", "steam_new.json", "australian_user_reviews.json"];

impl Stage for Steam {
    const KIND: &'static str = "ingest.steam";
    /// 1: first. 2: hours out of range and an empty log are refused. 3: a byte-order mark is not part of the text; integers in floats
    /// are ids; records that are not UTF-8 are invalid.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "read Steam reviews (steam_reviews, australian_user_reviews)";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let file = as_lines(decompressed(&one_of(folder, &REVIEWS)?, cx)?, cx)?;
        let is_nested = file.path().ends_with(REVIEWS[2]);
        let columns = if is_nested { ["user_id", "item_id"] } else { ["username", "product_id"] };
        let nested = |line: &str, take: Emit<'_, '_>| self.nested(line, take);
        let single = |line: &str, take: Emit<'_, '_>| take(record(line).and_then(|review| self.single(&review)));
        let lines = Lines {
            file: &file,
            header: 0,
            quoted_by: None,
            columns,
            known: [None, None],
            parse: if is_nested { &nested } else { &single },
        };
        let mut read = lines.read(cx)?;
        read.finish(file.name(), self.on_bad_row, cx)?;
        let games = ["steam_games.json"];
        let items = match one_of(folder, &games) {
            Ok(games) => {
                let ids = std::mem::take(&mut read.new[1]);
                Some(describe_items(ids, decompressed(&games, cx)?, self.on_bad_row, cx, game)?)
            }
            Err(_) => None,
        };
        let rows = read.rows;
        let outputs = assemble(read, None, items);
        self.expected_rows.check(file.name(), rows, &outputs)?;
        outputs.note_counts(cx);
        Ok(outputs)
    }
}

impl Steam {
    fn single(&self, review: &Record) -> Result<Row<'static>, Fault> {
        let day = text(review, "date")?;
        let date = parse_date_time(&day).ok_or_else(|| Fault::value("date", &day, "a date as 2017-12-17"))?;
        let timestamp = date.timestamp();
        let rating = match self.rating {
            Rating::Reviewed => 1.0,
            Rating::Hours => casts::rating(number(review, "hours")?, "hours")?,
            Rating::Recommended => recommended(review)?,
        };
        let (user, item) = (text(review, "username")?, text(review, "product_id")?);
        Ok(Row { user: user.into(), item: item.into(), rating, timestamp: Seconds::exactly(timestamp) })
    }

    fn nested(&self, line: &str, take: Emit<'_, '_>) {
        let user = record(line).and_then(|user| Ok((text(&user, "user_id")?, user)));
        let (id, user) = match user {
            Ok(user) => user,
            Err(fault) => return take(Err(fault)),
        };
        let Some(Value::Array(reviews)) = user.get("reviews") else {
            return take(Err(Fault::row("no list `reviews`", "one")));
        };
        for review in reviews {
            let Value::Object(review) = review else {
                take(Err(Fault::value("reviews", &review.to_string(), "a list of records")));
                continue;
            };
            take(self.one_of_many(&id, review));
        }
    }

    fn one_of_many(&self, user: &str, review: &Record) -> Result<Row<'static>, Fault> {
        let posted = text(review, "posted")?;
        let day = posted.trim().strip_prefix("Posted ").unwrap_or(posted.trim()).trim_end_matches('.');
        let wanted = "a date as \"Posted November 5, 2011.\" (dates without a year need the setting `year`)";
        let timestamp = english(day, self.year).ok_or_else(|| Fault::value("posted", &posted, wanted))?;
        let rating = match self.rating {
            Rating::Reviewed => 1.0,
            Rating::Hours => casts::rating(number(review, "hours")?, "hours")?,
            Rating::Recommended => recommended(review)?,
        };
        let item = text(review, "item_id")?;
        Ok(Row { user: Cow::Owned(user.to_owned()), item: item.into(), rating, timestamp: Seconds::exactly(timestamp) })
    }
}

/// `November 5, 2011`, or `July 3` of the year that is given, in seconds since 1970.
fn english(text: &str, year: Option<i64>) -> Option<i64> {
    let whole = if text.contains(',') { text.to_owned() } else { format!("{text}, {}", year?) };
    Some(parse_written(&whole, "%B %d, %Y")?.timestamp())
}

fn recommended(review: &Record) -> Result<f32, Fault> {
    match review.get("recommend") {
        Some(Value::Bool(is)) => Ok(f32::from(u8::from(*is))),
        other => Err(Fault::value("recommend", &other.map(Value::to_string).unwrap_or_default(), "True or False")),
    }
}

fn game(game: &Record) -> Result<ItemRecord, Fault> {
    // A few records of the published file have no id; they describe nothing.
    let id = text(game, "id")?;
    let named = text(game, "app_name")?;
    let title = if named.is_empty() { text(game, "title")? } else { named };
    let year = text(game, "release_date")?.get(..4).and_then(integers::year);
    Ok(ItemRecord { id, title, year, genres: texts(game.get("genres")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(files: &[(&str, &str)], extra: &str) -> Result<Outputs> {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("steam", folder.path());
        let stage: Steam = serde_json::from_str(&format!(r#"{{"asset": "steam"{extra}}}"#)).unwrap();
        stage.run(NoInputs {}, &cx)
    }

    const REVIEWED: &str = r#"{u'username': u'Chaos Syren', u'product_id': u'725280', u'page_order': 0, u'text': u'It\'s "fun"', u'hours': 0.1, u'products': 41, u'date': u'2017-12-17', u'early_access': False, u'page': 1}
{u'username': u'Ariman', u'product_id': u'328100', u'hours': 13.2, u'date': u'2017-08-02', u'early_access': True}
{"username": "Chaos Syren", "product_id": "328100", "date": "2017-12-18"}
"#;
    const GAMES: &str = "{u'publisher': u'K', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost \\u2603', u'release_date': u'2018-01-04', u'id': u'725280'}\n{u'app_name': u'no id'}\n";

    #[test]
    fn reviews_of_one_line_each() {
        let outputs = run(&[("steam_reviews.json", REVIEWED), ("steam_games.json", GAMES)], "").unwrap();
        assert_eq!(outputs.users.id, ["Chaos Syren", "Ariman"]);
        assert_eq!((outputs.interactions.user, outputs.interactions.item), (vec![0, 1, 0], vec![0, 1, 1]));
        assert_eq!(outputs.interactions.timestamp, [17_517 * 86_400, 17_380 * 86_400, 17_518 * 86_400]);
        assert_eq!(outputs.items.title, ["Lost \u{2603}", "328100"]);
        assert_eq!(
            (&outputs.items.year, &outputs.items.genres[0]),
            (&vec![Some(2018), None], &vec!["Action".to_owned(), "Indie".to_owned()])
        );
        let error = run(&[("steam_new.json", REVIEWED)], r#", "rating": "hours""#).err().unwrap().to_string();
        assert!(error.contains("steam_new.json:3: column `hours`: found \"\", wanted a finite number"), "{error}");
        let hours = run(&[("steam_new.json", REVIEWED)], r#", "rating": "hours", "on_bad_row": "drop""#).unwrap();
        assert_eq!(hours.interactions.rating, [0.1, 13.2]);
    }

    #[test]
    fn reviews_by_user() {
        let log = r#"{'user_id': '7656', 'user_url': 'http://x', 'reviews': [{'funny': '', 'posted': 'Posted November 5, 2011.', 'last_edited': '', 'item_id': '1250', 'helpful': 'No ratings yet', 'recommend': True, 'review': 'Simple.'}, {'posted': 'Posted July 3.', 'item_id': '22200', 'recommend': False}]}
{'user_id': 'js41', 'reviews': []}
"#;
        let name = "australian_user_reviews.json";
        let error = run(&[(name, log)], "").err().unwrap().to_string();
        assert!(error.contains("australian_user_reviews.json:1: column `posted`: found \"Posted July 3.\""), "{error}");
        let outputs =
            run(&[(name, log)], r#", "year": 2016, "rating": "recommended", "expected_rows": {"users": 1}"#).unwrap();
        assert_eq!(
            (outputs.interactions.rating, outputs.items.id),
            (vec![1.0, 0.0], vec!["1250".to_owned(), "22200".to_owned()])
        );
        assert_eq!(
            outputs.interactions.timestamp,
            ["2011-11-05", "2016-07-03"].map(|day| parse_date_time(day).unwrap().timestamp())
        );
    }
}
