//! RecBole's atomic files (`.inter`, `.item`, `.user`): the format that over forty public datasets are offered in.
//!
//! Left out: `.kg`, `.link`, `.net` and sequence-typed interactions.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::atomic::{AtomicFile, names_of, no_field, only};
use super::bad_rows::{BadRows, Fault, OnBadRow};
use super::catalogue::join;
use super::expect::Expect;
use super::piece::ReadLog;
use super::separated::{Separated, Time};
use super::shards::Lines;
use super::{NoInputs, Outputs};
use crate::artifact::{Items, Users};

/// `ingest.recbole`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recbole {
    /// The folder with the `.inter` file and, if there are any, the `.item` and `.user` files.
    pub asset: AssetName,
    /// The `.inter` field that holds the rating.
    #[serde(default = "rating")]
    pub rating: String,
    /// The `.inter` field that holds the time in seconds; without it all times are 0.
    #[serde(default = "timestamp")]
    pub timestamp: Option<String>,
    /// The `.item` field that names an item to people; its id without.
    #[serde(default)]
    pub title: Option<String>,
    /// The `.item` field with the year of release.
    #[serde(default)]
    pub year: Option<String>,
    /// The `.item` field with the genres, separated by spaces.
    #[serde(default)]
    pub genres: Option<String>,
    /// What to do with a row that does not fit.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// What must come out; copies of datasets are often altered.
    #[serde(default)]
    pub expect: Expect,
}

fn rating() -> String {
    "rating".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn timestamp() -> Option<String> {
    Some("timestamp".to_owned())
}

impl Stage for Recbole {
    const KIND: &'static str = "ingest.recbole";
    /// 1: first. 2: an id that only dropped rows mention gets no number. 3: a row of too few fields does not fit.
    /// 4: times are rounded down; numbers that do not fit and an empty log are refused.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read a log in RecBole's atomic format (.inter, .item, .user)";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let log = only(folder, "inter")?.with_context(|| format!("{} holds no .inter file", folder.display()))?;
        let items = AtomicFile::find(folder, "item")?.map(|file| self.items(&file, cx)).transpose()?;
        let users = AtomicFile::find(folder, "user")?.map(|file| self.users(&file, cx)).transpose()?;
        let read = self.log(&log, users.as_ref(), items.as_ref(), cx)?;
        let rows = read.rows;
        let outputs = join(read, users, items);
        self.expect.check(&log, rows, &outputs)?;
        outputs.say(cx);
        Ok(outputs)
    }
}

impl Recbole {
    fn items(&self, file: &AtomicFile, cx: &Context) -> Result<Items> {
        let owned =
            |name: &str| -> Result<Vec<String>> { Ok(file.text(name)?.into_iter().map(str::to_owned).collect()) };
        let id = owned("item_id")?;
        let title = self.title.as_deref().map_or_else(|| Ok(id.clone()), owned)?;
        let year = self.year.as_deref().map_or_else(|| Ok(vec![None; id.len()]), |name| years(file, name, cx))?;
        let genres = match &self.genres {
            Some(name) => {
                file.text(name)?.iter().map(|text| text.split_whitespace().map(str::to_owned).collect()).collect()
            }
            None => vec![Vec::new(); id.len()],
        };
        let drop = self.check_ids(file, &id, "item_id", cx)?;
        let items = Items { id, title, year, genres, ..Items::default() };
        Ok(Items {
            id: without(items.id, &drop),
            title: without(items.title, &drop),
            year: without(items.year, &drop),
            genres: without(items.genres, &drop),
            ..Items::default()
        })
    }

    fn users(&self, file: &AtomicFile, cx: &Context) -> Result<Users> {
        let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in file.names() {
            columns.insert(name.clone(), file.text(&name)?.into_iter().map(str::to_owned).collect());
        }
        let id =
            columns.remove("user_id").with_context(|| format!("{} has no field `user_id`", file.path.display()))?;
        let drop = self.check_ids(file, &id, "user_id", cx)?;
        let features = columns.into_iter().map(|(name, values)| (name, without(values, &drop))).collect();
        Ok(Users { id: without(id, &drop), features })
    }

    /// Ids must be present and unique; gives the rows to leave out.
    fn check_ids(&self, file: &AtomicFile, ids: &[String], column: &str, cx: &Context) -> Result<Vec<usize>> {
        let (mut bad, mut drop) = (BadRows::default(), Vec::new());
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (row, id) in ids.iter().enumerate() {
            let wanted = if id.is_empty() {
                "an id"
            } else if first.insert(id, row).is_some() {
                "an id of its own"
            } else {
                continue;
            };
            bad.add(Fault::value(column, id, wanted), || file.line_of(row) as u64);
            drop.push(row);
        }
        bad.settle(&file.path, self.on_bad_row, cx)?;
        Ok(drop)
    }

    /// Reads the log. Without an `.item` or `.user` file the ids are numbered as they appear.
    fn log(&self, path: &Path, users: Option<&Users>, items: Option<&Items>, cx: &Context) -> Result<ReadLog> {
        let place = || format!("cannot read {}", path.display());
        let mut header = String::new();
        BufReader::new(File::open(path).with_context(place)?).read_line(&mut header).with_context(place)?;
        let names = names_of(path, header.trim_end_matches(['\n', '\r']).split('\t'))?;
        let at = |name: &str| {
            let found = names.iter().position(|known| known == name);
            found.with_context(|| no_field(path, name, &names))
        };
        let form = Separated {
            separator: "\t",
            quotes: false,
            fields: names.len(),
            user: at("user_id")?,
            item: at("item_id")?,
            rating: Some((&self.rating, at(&self.rating)?)),
            time: self.timestamp.as_deref().map(|name| anyhow::Ok(Time::seconds(name, at(name)?))).transpose()?,
        };
        let lines = Lines {
            path,
            header: 1,
            columns: ["user_id", "item_id"],
            known: [users.map(|users| &*users.id), items.map(|items| &*items.id)],
            parse: &|line, take| take(form.parse(line)),
        };
        let read = lines.read(cx)?;
        read.settle(path, self.on_bad_row, cx)?;
        Ok(read)
    }
}

/// An item whose year is no number is still an item: the year reads as unknown, and the run says so.
fn years(file: &AtomicFile, name: &str, cx: &Context) -> Result<Vec<Option<i32>>> {
    let (years, unread) = file.whole(name)?;
    if let Some(&first) = unread.first() {
        let (count, line, text) = (unread.len(), file.line_of(first), file.text(name)?[first]);
        cx.note(&format!("unknown `{name}`"), format!("{count} are no number (the first: line {line}, {text:?})"));
    }
    Ok(years)
}

/// The values whose row is not in `drop` (ascending).
fn without<T>(values: Vec<T>, drop: &[usize]) -> Vec<T> {
    if drop.is_empty() {
        return values;
    }
    values.into_iter().enumerate().filter(|(row, _)| drop.binary_search(row).is_err()).map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn stage(extra: &str) -> Recbole {
        serde_json::from_str(&format!(
            r#"{{"asset": "log", "title": "title", "year": "year", "genres": "class"{extra}}}"#
        ))
        .unwrap()
    }

    fn run(inter: &str, extra: &str) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("x.inter", inter);
        write(
            "x.item",
            "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\na\tFilm \"A\"\t1995\tDrama War\nb\tB\t\t\n",
        );
        write("x.user", "user_id:token\tage:token\n7\t24\n9\t53\n");
        read(folder.path(), &stage(extra))
    }

    fn read(folder: &Path, stage: &Recbole) -> Result<Outputs> {
        let mut cx = Context::detached(folder);
        cx.add_asset("log", folder);
        stage.run(NoInputs {}, &cx)
    }

    const HEADER: &str = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";

    #[test]
    fn a_whole_log_becomes_three_tables() {
        let outputs = run(&format!("{HEADER}9\ta\t4\t100\n7\tb\t2.5\t50\n"), "").unwrap();
        assert_eq!(outputs.interactions.user, [1, 0]);
        assert_eq!(outputs.interactions.item, [0, 1]);
        assert_eq!(outputs.interactions.rating, [4.0, 2.5]);
        assert_eq!(outputs.interactions.timestamp, [100, 50]);
        assert_eq!(outputs.items.title, ["Film \"A\"", "B"]);
        assert_eq!(outputs.items.year, [Some(1995), None]);
        assert_eq!(outputs.items.genres, [vec!["Drama", "War"], vec![]]);
        assert_eq!(outputs.users.features["age"], ["24", "53"]);
    }

    #[test]
    fn a_broken_row_is_named_with_line_column_and_value() {
        for (rows, expected) in [
            ("9\ta\t4\t100\n\n7\tb\tgood\t50\n", "x.inter:4: column `rating`: found \"good\", wanted a finite number"),
            ("9\ta\tinf\t100\n", "x.inter:2: column `rating`: found \"inf\""),
            ("9\ta\n", "x.inter:2: found 2 fields, wanted 4"),
            ("8\ta\t3\t1\n", "x.inter:2: column `user_id`: found \"8\", wanted an id that is listed"),
            ("9\ta\t4\t100\textra\n", "x.inter:2: found 5 fields, wanted 4"),
        ] {
            let error = format!("{:#}", run(&format!("{HEADER}{rows}"), "").err().unwrap());
            assert!(error.contains(expected), "{error}\nwanted: {expected}");
        }
    }

    #[test]
    fn bad_rows_are_dropped_when_the_experiment_says_so_and_counts_are_checked() {
        let log = format!("{HEADER}9\ta\t4\t100\n7\tb\tgood\t50\n7\ta\t3\t51\r\n");
        let outputs = run(&log, r#", "on_bad_row": "drop""#).unwrap();
        assert_eq!(outputs.interactions.rating, [4.0, 3.0]);
        let error = run(&log, r#", "on_bad_row": "drop", "expect": {"interactions": 3}"#).err().unwrap();
        assert!(error.to_string().contains("gave 2 interactions, but the experiment expects 3"), "{error}");
    }
}
