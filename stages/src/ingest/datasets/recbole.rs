//! RecBole's atomic files (`.inter`, `.item`, `.user`), the format of over forty public datasets.
//!
//! A folder may also hold a log split into parts, as RecBole's `benchmark_filename` names them: `x.train.inter`, `x.valid.inter`,
//! `x.test.inter`. The separator of the header may also be a comma, a space or a semicolon. Left out: `.kg`, `.link`, `.net` and sequence-typed interactions.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Items, TextFile, Users};
use crate::ingest::datasets::atomic::{AtomicFile, AtomicHeader, with_extension};
use crate::ingest::readers::bad_rows::{BadRows, Fault, OnBadRow};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::delimited::{Delimited, Time};
use crate::ingest::readers::genres;
use crate::ingest::readers::integers;
use crate::ingest::readers::item_table::{assemble, check_kept, note_left_out};
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::row_counts::ExpectedRows;
use crate::ingest::readers::shard::{ReadLog, note_missing_ratings};
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::{NoInputs, Outputs};

/// `ingest.recbole`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recbole {
    /// The folder with the `.inter` file and, if there are any, the `.item` and `.user` files.
    pub asset: AssetName,
    /// The parts to read of a log that is split into parts (`x.train.inter`, `x.valid.inter`, `x.test.inter`): `[train]`, or
    /// `[train, valid]`. Ids are numbered over all parts, so that two stages that read different parts of a folder have the same
    /// numbers: connect one with `test` as the input `test` of `split` with `by: predefined`. Absent for
    /// a log in one file.
    #[serde(default)]
    pub parts: Vec<String>,
    /// The `.inter` field of the rating. `null` for a log without ratings: each row counts as 1.
    #[serde(default = "rating")]
    pub rating: Option<String>,
    /// The `.inter` field of the time: seconds since 1970, or what `ingest.table` reads without a `unit`. `null` for a log without
    /// times: all times are 0.
    #[serde(default = "timestamp")]
    pub timestamp: Option<String>,
    /// The `.item` field of the title. The title is the id when absent.
    #[serde(default)]
    pub title: Option<String>,
    /// The `.item` field of the year of release; a value that is not an integer (`1995`, `1995.0`) is unknown.
    #[serde(default)]
    pub year: Option<String>,
    /// The `.item` field of the genres, separated by spaces; `(no genres listed)` means none.
    #[serde(default)]
    pub genres: Option<String>,
    /// Other `.item` fields that the catalogue keeps, as worlds, encoders and prompts may declare them. The run notes the fields that are not
    /// read. A sequence is one text, its values separated by spaces: `multi_valued: " "`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Treatment of invalid rows.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Expected numbers of rows; copies of datasets are often altered.
    #[serde(default)]
    pub expected_rows: ExpectedRows,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn rating() -> Option<String> {
    Some("rating".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn timestamp() -> Option<String> {
    Some("timestamp".to_owned())
}

impl Stage for Recbole {
    const KIND: &'static str = "ingest.recbole";
    /// 1: first. 2: an id that only dropped rows mention gets no number. 3: a row with too few fields is invalid.
    /// 4: times are rounded down; numbers out of range and an empty log are refused. 5: a byte-order mark is not part of the text;
    /// integers in floats are integers; rows of items and users with too few fields are invalid; `(no genres listed)` means none.
    /// 6: dates in text and other units than seconds are times; a year beyond 9999 is refused.
    const VERSION: u32 = 6;
    const ABOUT: &'static str = "read a log in RecBole's atomic format (.inter, .item, .user)";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let find = |extension: &str| AtomicFile::find(folder, extension, self.on_bad_row, cx);
        let logs = self.logs(folder)?;
        let items = find("item")?.map(|file| self.items(&file, cx)).transpose()?;
        let users = find("user")?.map(|file| self.users(&file, cx)).transpose()?;
        let read = |(path, is_kept): &(PathBuf, bool)| {
            anyhow::Ok((self.log(path, users.as_ref(), items.as_ref(), cx)?, *is_kept))
        };
        let read = ReadLog::concatenate(logs.iter().map(read).collect::<Result<_>>()?);
        let rows = read.rows;
        let outputs = assemble(read, users, items);
        let kept: Vec<&PathBuf> = logs.iter().filter(|(_, is_kept)| *is_kept).map(|(path, _)| path).collect();
        self.expected_rows.check(if let [log] = kept[..] { log } else { folder }, rows, &outputs)?;
        if self.rating.is_none() {
            kept.first().iter().for_each(|log| note_missing_ratings(log, cx));
        }
        outputs.note_counts(cx);
        Ok(outputs)
    }
}

impl Recbole {
    /// The files of the log, each with a flag whether its rows are read; the others only number ids.
    fn logs(&self, folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
        let found = with_extension(folder, "inter")?;
        let place = folder.display();
        ensure!(!found.is_empty(), "{place} holds no .inter file\nhelp: name the folder with the dataset's files");
        let part = |path: &PathBuf| Some(path.file_stem()?.to_string_lossy().rsplit_once('.')?.1.to_owned());
        if let ([log], []) = (&found[..], &self.parts[..]) {
            return Ok(vec![(log.clone(), true)]);
        }
        let usual = |part: &str| ["train", "valid", "test"].iter().position(|usual| *usual == part).unwrap_or(3);
        let mut parts: Vec<(String, PathBuf)> =
            found.iter().filter_map(|path| Some((part(path)?, path.clone()))).collect();
        parts.sort_by_key(|(part, path)| (usual(part), path.clone()));
        let names: Vec<&str> = parts.iter().map(|(part, _)| &**part).collect();
        let files: Vec<_> = found.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy()).collect();
        let is_one_log = found.len() == parts.len() && (1..names.len()).all(|at| !names[..at].contains(&names[at]));
        ensure!(
            is_one_log,
            "{place} holds {} .inter files, wanted one log, or its parts as x.train.inter and x.test.inter: {}\nhelp: keep the \
             files of one dataset in the folder",
            files.len(),
            files.join(", ")
        );
        if self.parts.is_empty() {
            bail!(
                "{place} holds a log in {} parts: {}\nhelp: name the parts to read, as `parts: [{}]`; a second stage with another \
                 part has the same numbers of users and items, so that it can be the input `test` of `split` with `by: predefined`",
                names.len(),
                files.join(", "),
                names[0]
            );
        }
        for wanted in &self.parts {
            ensure!(
                names.contains(&&**wanted),
                "{place} has no part `{wanted}`; it has {}\nhelp: correct `parts`",
                names.join(", ")
            );
        }
        // All parts are read, in an order that no setting changes, so that ids have the same numbers in every stage.
        let is_kept = |part: &String| self.parts.contains(part);
        Ok(parts.into_iter().map(|(part, path)| (path, is_kept(&part))).collect())
    }

    fn items(&self, file: &AtomicFile, cx: &Context) -> Result<Items> {
        let owned =
            |name: &str| -> Result<Vec<String>> { Ok(file.text(name)?.into_iter().map(str::to_owned).collect()) };
        let mut id = owned("item_id")?;
        if integers::strip_fractions(&mut id) {
            integers::note_stripped("item_id", &file.header.file, cx);
        }
        let mut title = self.title.as_deref().map_or_else(|| Ok(id.clone()), owned)?;
        // An item without a title has its id as title, as in a file without titles.
        title
            .iter_mut()
            .zip(&id)
            .filter(|(title, _)| title.trim().is_empty())
            .for_each(|(title, id)| title.clone_from(id));
        let year = self.year.as_deref().map_or_else(|| Ok(vec![None; id.len()]), |name| years(file, name, cx))?;
        let genres = match &self.genres {
            Some(name) => {
                let of = |text: &&str| match text.trim() {
                    genres::NONE => Vec::new(),
                    text => text.split_whitespace().map(str::to_owned).collect(),
                };
                file.text(name)?.iter().map(of).collect()
            }
            None => vec![Vec::new(); id.len()],
        };
        check_kept(&self.features, &file.header.file, "features")?;
        let named = [self.title.as_ref(), self.year.as_ref(), self.genres.as_ref()];
        let is_read =
            |name: &&String| *name == "item_id" || named.contains(&Some(*name)) || self.features.contains(name);
        note_left_out(file.header.names.iter().filter(|name| !is_read(name)), "features", cx);
        let drop = self.check_ids(file, &id, "item_id", cx)?;
        let kept = |name: &String| Ok((name.clone(), without(owned(name)?, &drop)));
        let features = self.features.iter().map(kept).collect::<Result<_>>()?;
        let items = Items { id, title, year, genres, ..Items::default() };
        Ok(Items {
            id: without(items.id, &drop),
            title: without(items.title, &drop),
            year: without(items.year, &drop),
            genres: without(items.genres, &drop),
            features,
        })
    }

    fn users(&self, file: &AtomicFile, cx: &Context) -> Result<Users> {
        let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let path = &file.header.file;
        for name in &file.header.names {
            columns.insert(name.clone(), file.text(name)?.into_iter().map(str::to_owned).collect());
        }
        let mut id = columns.remove("user_id").with_context(|| format!("{} has no field `user_id`", path.display()))?;
        if integers::strip_fractions(&mut id) {
            integers::note_stripped("user_id", path, cx);
        }
        let drop = self.check_ids(file, &id, "user_id", cx)?;
        let features = columns.into_iter().map(|(name, values)| (name, without(values, &drop))).collect();
        Ok(Users { id: without(id, &drop), features })
    }

    /// Ids must be present and unique; returns the rows to drop.
    fn check_ids(&self, file: &AtomicFile, ids: &[String], column: &str, cx: &Context) -> Result<Vec<usize>> {
        let (mut bad, mut drop) = (BadRows::default(), Vec::new());
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (row, id) in ids.iter().enumerate() {
            let wanted = if id.is_empty() {
                "an id"
            } else if first.insert(id, row).is_some() {
                "a unique id"
            } else {
                continue;
            };
            bad.add(Fault::value(column, id, wanted), || file.line_of(row));
            drop.push(row);
        }
        bad.enforce(&file.header.file, self.on_bad_row, cx)?;
        Ok(drop)
    }

    /// Reads the log. Without an `.item` or `.user` file the ids are numbered as they appear.
    fn log(&self, path: &Path, users: Option<&Users>, items: Option<&Items>, cx: &Context) -> Result<ReadLog> {
        let file = TextFile::new(path);
        let header = AtomicHeader::read(&file)?;
        header.note_separator(cx);
        let other = "a log with other names of the id columns is read by `ingest.table`";
        let rating =
            "name the field of ratings in `rating`; for a log without ratings set `rating: null`: each row counts as 1";
        let time =
            "name the field of times in `timestamp`; for a log without times set `timestamp: null`: all times are 0";
        let time = |name| anyhow::Ok(Time::seconds(name, header.single(name, time)?));
        let mut form = Delimited {
            separator: header.separator,
            quotes: header.separator == ",",
            trims: false,
            decimal: Decimal::Point,
            header: Some(&header.line),
            fields: header.names.len(),
            user: header.single("user_id", other)?,
            item: header.single("item_id", other)?,
            rating: self.rating.as_deref().map(|name| anyhow::Ok((name, header.single(name, rating)?))).transpose()?,
            time: self.timestamp.as_deref().map(time).transpose()?,
        };
        let times = form.time_form(&file)?;
        form.time = form.time.map(|time| Time { form: &times, ..time });
        let lines = Lines {
            file: &file,
            header: 1,
            quoted_by: form.quoted_by(),
            columns: ["user_id", "item_id"],
            known: [users.map(|users| &*users.id), items.map(|items| &*items.id)],
            parse: &|line, take| take(form.parse(line)),
        };
        let mut read = lines.read(cx)?;
        read.finish(path, self.on_bad_row, cx)?;
        if let Some(column) = self.timestamp.as_deref().filter(|_| times != *TimeForm::SECONDS) {
            read.note_times(&times, column, cx);
        }
        Ok(read)
    }
}

/// The years; a value that is not an integer is unknown, with a note on the run.
fn years(file: &AtomicFile, name: &str, cx: &Context) -> Result<Vec<Option<i32>>> {
    let (years, unread) = file.years(name)?;
    if let Some(&first) = unread.first() {
        let (count, line, text) = (unread.len(), file.line_of(first), file.text(name)?[first]);
        cx.note(
            &format!("unknown `{name}`"),
            format!("{count} values are not integers (the first: line {line}, {text:?})"),
        );
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
    fn an_item_without_a_title_goes_by_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("x.inter", &format!("{HEADER}9\ta\t4\t100\n"));
        write("x.item", "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\na\t\t1995\tDrama\n");
        assert_eq!(read(folder.path(), &stage("")).unwrap().items.title, ["a"]);
    }

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
        assert!(outputs.items.features.is_empty());
        let kept = run(&format!("{HEADER}9\ta\t4\t100\n"), r#", "features": ["class"]"#).unwrap().items;
        assert_eq!(kept.features["class"], ["Drama War", ""]);
        let error = run(&format!("{HEADER}9\ta\t4\t100\n"), r#", "features": ["year"]"#).err().unwrap().to_string();
        assert!(error.contains("`features` names the column `year`") && error.contains("set `year`, or"), "{error}");
    }

    #[test]
    fn a_broken_row_is_named_with_line_column_and_value() {
        for (rows, expected) in [
            ("9\ta\t4\t100\n\n7\tb\tgood\t50\n", "x.inter:4: column `rating`: found \"good\", wanted a finite number"),
            ("9\ta\tinf\t100\n", "x.inter:2: column `rating`: found \"inf\""),
            ("9\ta\n", "x.inter:2: found 2 fields, wanted 4"),
            ("8\ta\t3\t1\n", "x.inter:2: column `user_id`: found \"8\", wanted an id of the side table"),
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
        let error = run(&log, r#", "on_bad_row": "drop", "expected_rows": {"interactions": 3}"#).err().unwrap();
        assert!(error.to_string().contains("has 2 interactions, but the experiment expects 3"), "{error}");
    }

    /// The files of a folder, read by a stage of those settings.
    fn run_files(files: &[(&str, &str)], settings: &str) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        read(folder.path(), &serde_json::from_str(&format!(r#"{{"asset": "log"{settings}}}"#)).unwrap())
    }

    #[test]
    fn fields_may_be_apart_by_other_than_tabs_and_their_types_are_checked() {
        let log = format!("{HEADER}9\ta\t4\t100\n7\tb\t2.5\t50\n");
        let whole = run(&log, "").unwrap();
        for separator in [",", " ", ";"] {
            let other = run(&format!("\u{feff}{}", log.replace('\t', separator)), "").unwrap();
            assert_eq!(other.interactions, whole.interactions, "{separator:?}");
        }
        for (header, wanted) in [
            (
                "user_id:token\titem_id:token\trating:flaot\n",
                "unknown type: `rating:flaot`; wanted `token`, `token_seq`",
            ),
            ("user_id:token\titem_id:token_seq\trating:float\n", "the field `item_id` is of type `token_seq`"),
            ("user_id:token\titem_id:token\titem_id:token\n", "two columns `item_id`: its 2nd and its 3rd"),
        ] {
            let error = run(&format!("{header}9\ta\t4\n"), "").err().unwrap().to_string();
            assert!(error.contains(wanted), "{error}\nwanted: {wanted}");
        }
    }

    #[test]
    fn a_log_without_ratings_is_read_where_it_is_said_that_it_has_none() {
        let log = [("x.inter", "user_id:token\titem_id:token\n1\ta\n2\tb\n")];
        let error = run_files(&log, "").err().unwrap().to_string();
        assert!(
            error.contains("x.inter has no field `rating`; it has user_id, item_id\nhelp: name the field"),
            "{error}"
        );
        assert!(error.contains("set `rating: null`: each row counts as 1"), "{error}");
        let error = run_files(&log, r#", "rating": null"#).err().unwrap().to_string();
        assert!(error.contains("no field `timestamp`") && error.contains("set `timestamp: null`"), "{error}");
        let read = run_files(&log, r#", "rating": null, "timestamp": null"#).unwrap().interactions;
        assert_eq!((read.rating, read.timestamp), (vec![1.0, 1.0], vec![0, 0]));
    }

    #[test]
    fn parts_of_a_benchmark_are_read_by_name_and_agree_on_every_id() {
        let of = |rows: &str| format!("user_id:token\titem_id:token\trating:float\ttimestamp:float\n{rows}");
        let (train, valid, test) = (of("1\ta\t5\t1\n2\tb\t4\t2\n"), of("2\tc\t3\t3\n"), of("1\tc\t2\t4\n3\ta\t1\t5\n"));
        let files = [("x.test.inter", &*test), ("x.train.inter", &train), ("x.valid.inter", &valid)];
        let part = |parts: &str| run_files(&files, &format!(r#", "parts": {parts}"#));
        let error = run_files(&files, "").err().unwrap().to_string();
        assert!(error.contains("holds a log in 3 parts: x.test.inter, x.train.inter, x.valid.inter"), "{error}");
        assert!(error.contains("help: name the parts to read, as `parts: [train]`"), "{error}");
        let (learned, judged) = (part(r#"["train", "valid"]"#).unwrap(), part(r#"["test"]"#).unwrap());
        assert_eq!((&learned.users.id, &learned.items.id), (&judged.users.id, &judged.items.id));
        assert_eq!(learned.users.id, ["1", "2", "3"]);
        assert_eq!((&*learned.interactions.user, &*learned.interactions.item), (&[0, 1, 1][..], &[0, 1, 2][..]));
        assert_eq!((&*judged.interactions.user, &*judged.interactions.item), (&[0, 2][..], &[2, 0][..]));
        assert_eq!(judged.interactions.rating, [2.0, 1.0]);
        let error = part(r#"["dev"]"#).err().unwrap().to_string();
        assert!(error.contains("has no part `dev`; it has train, valid, test"), "{error}");
        let two = run_files(&[("x.inter", &*train), ("y.inter", &*test)], "").err().unwrap().to_string();
        assert!(two.contains("holds 2 .inter files, wanted one log, or its parts"), "{two}");
    }

    #[test]
    fn rows_of_items_are_whole_and_their_ids_join() {
        let log = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1.0\t7\t5\t1\n2.0\t8\t4\t2\n";
        let settings = r#", "title": "t", "year": "y", "genres": "g", "on_bad_row": "drop""#;
        let run = |items: &str, settings: &str| run_files(&[("x.inter", log), ("x.item", items)], settings);
        let header = "\u{feff}item_id:token\tt:token_seq\ty:float\tg:token_seq\n";
        let read =
            run(&format!("{header}7.0\tA\t1995.0\t(no genres listed)\n8.0\tB\t\tDrama War\n"), settings).unwrap();
        assert_eq!(
            (read.users.id, read.items.id),
            (vec!["1".to_owned(), "2".into()], vec!["7".to_owned(), "8".into()])
        );
        assert_eq!((read.items.year, &*read.items.genres[0]), (vec![Some(1995), None], &[][..]));
        // pola-rs/polars#10585: a row that was cut had no genres and no year, in silence.
        let cut = run(&format!("{header}7\tA\t1995\tDrama\n8\tB\n"), "").err().unwrap().to_string();
        assert!(cut.contains("x.item:3: found 2 fields, wanted 4"), "{cut}");
    }
}
