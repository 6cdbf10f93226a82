//! Published datasets that have a reader of their own, by the files in their folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{Context, Stage};
use serde_json::{Value, json};

use super::super::{Coat, KuaiRec, MovieLens, NoInputs, Recbole, Steam};
use super::role_names::{AMOUNT, RATING, fit_of_value, normalised};
use super::side_features::{Likely, RESERVED, likely_sequence, of_columns};
use super::yaml_text::flow;
use crate::artifact::{Interactions, Items, TextFile, Users};
use crate::ingest::datasets::atomic::{AtomicFile, AtomicHeader, with_extension};
use crate::ingest::readers::bad_rows::OnBadRow;

/// A dataset, and how it is read.
pub(super) struct Published {
    pub kind: &'static str,
    /// By which files it was known.
    pub why: String,
    pub folder: PathBuf,
    /// The settings beside `asset`.
    pub with: Vec<(&'static str, Value)>,
}

/// The dataset in a folder, or whose log this file is.
pub(super) fn published(log: &Path) -> Result<Option<Published>> {
    let folder = if log.is_dir() { log } else { log.parent().unwrap_or(Path::new("")) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let name = log.file_name().filter(|_| !log.is_dir()).map(|name| name.to_string_lossy().into_owned());
    let has = |files: &[&str]| {
        files.iter().all(|file| folder.join(file).exists()) && name.as_deref().is_none_or(|name| name == files[0])
    };
    let found = |kind, files: &[&str], with| {
        let why = format!("known by {}", files.join(", "));
        Ok(Some(Published { kind, why, folder: folder.to_path_buf(), with }))
    };
    for (kind, files) in [
        (Coat::KIND, &["train.ascii", "test.ascii", "user_item_features"][..]),
        (MovieLens::KIND, &["u.data", "u.item"]),
        (MovieLens::KIND, &["ratings.dat", "movies.dat"]),
        (KuaiRec::KIND, &["big_matrix.csv", "small_matrix.csv", "item_categories.csv"]),
        (Steam::KIND, &["steam_reviews.json"]),
        (Steam::KIND, &["steam_reviews.json.gz"]),
        (Steam::KIND, &["steam_new.json"]),
        (Steam::KIND, &["steam_new.json.gz"]),
        (Steam::KIND, &["australian_user_reviews.json"]),
        (Steam::KIND, &["australian_user_reviews.json.gz"]),
    ] {
        if has(files) {
            return found(kind, files, vec![]);
        }
    }
    let csv = ["ratings.csv", "movies.csv"];
    if has(&csv) {
        let header = TextFile::new(&folder.join(csv[0])).first_line()?;
        let names: Vec<String> = header.split(',').map(normalised).collect();
        if ["userid", "movieid"].iter().all(|name| names.iter().any(|known| known == name)) {
            return found(MovieLens::KIND, &csv, vec![]);
        }
    }
    let inter = if log.is_dir() { with_extension(log, "inter")? } else { Vec::new() };
    let is_inter = log.extension().is_some_and(|ending| ending == "inter");
    if inter.is_empty() && !is_inter {
        return Ok(None);
    }
    let first = if is_inter { log.to_path_buf() } else { inter[0].clone() };
    let mut with = atomic_fields(folder, &first)?;
    let names: Vec<String> = match part_names(&with_extension(folder, "inter")?) {
        Some((files, parts)) => {
            with.insert(0, ("parts", json!(parts)));
            files
        }
        None => vec![first.file_name().unwrap_or_default().to_string_lossy().into_owned()],
    };
    found(Recbole::KIND, &names.iter().map(String::as_str).collect::<Vec<_>>(), with)
}

/// The files of a log in parts (`x.train.inter`, `x.test.inter`) and the names of the parts, in the order of their use; none for a log in
/// one file, or several logs.
fn part_names(inter: &[PathBuf]) -> Option<(Vec<String>, Vec<String>)> {
    let mut parts = Vec::new();
    for path in inter {
        let file = path.file_name()?.to_string_lossy().into_owned();
        let (log, part) = path.file_stem()?.to_str()?.rsplit_once('.')?;
        parts.push((log.to_owned(), part.to_owned(), file));
    }
    let usual = |part: &str| ["train", "valid", "test"].iter().position(|usual| *usual == part).unwrap_or(3);
    parts.sort_by_key(|(_, part, _)| (usual(part), part.clone()));
    let is_one_log = parts.len() > 1 && parts.iter().all(|(log, ..)| *log == parts[0].0);
    is_one_log.then(|| parts.into_iter().map(|(_, part, file)| (file, part)).unzip())
}

/// The fields of RecBole's files by the settings that name them.
fn atomic_fields(folder: &Path, log: &Path) -> Result<Vec<(&'static str, Value)>> {
    let names = AtomicHeader::read(&TextFile::new(log))?.names;
    let mut with = Vec::new();
    let has = |field: &str| names.iter().any(|name| name == field);
    if !has("rating") {
        let called = |known: &[&str]| names.iter().find(|name| fit_of_value(name, known) == Some(3));
        with.push(("rating", called(RATING).or_else(|| called(AMOUNT)).map_or(Value::Null, |name| json!(name))));
    }
    if !has("timestamp") {
        with.push(("timestamp", Value::Null));
    }
    let Some(items) = with_extension(folder, "item")?.into_iter().next() else { return Ok(with) };
    let names = AtomicHeader::read(&TextFile::new(&items))?.names;
    for (setting, known) in [
        ("title", &["movietitle", "title", "name", "itemname"][..]),
        ("year", &["releaseyear", "year"]),
        ("genres", &["genre", "genres", "class", "categories", "category"]),
    ] {
        let named = known.iter().find_map(|known| names.iter().find(|name| normalised(name) == *known));
        if let Some(name) = named {
            with.push((setting, json!(name)));
        }
    }
    Ok(with)
}

impl Published {
    /// Reads it. Rows that would be refused are dropped where need be, which the second value says.
    pub fn read(&mut self, cx: &mut Context) -> Result<(Interactions, Items, Users)> {
        cx.add_asset("log", &self.folder);
        let read = self.read_with(false, cx);
        let Err(error) = read else { return read };
        if self.kind == Coat::KIND || !error.to_string().contains("on_bad_row: drop") {
            return Err(error);
        }
        let read = self.read_with(true, cx)?;
        self.with.push(("on_bad_row", json!("drop")));
        Ok(read)
    }

    fn read_with(&self, drops: bool, cx: &Context) -> Result<(Interactions, Items, Users)> {
        let mut with = json!({ "asset": "log" });
        let Some(map) = with.as_object_mut() else { unreachable!("it was made as a mapping") };
        map.extend(self.with.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        if drops {
            map.insert("on_bad_row".into(), "drop".into());
        }
        fn run<S: Stage<Inputs = NoInputs>>(with: Value, cx: &Context) -> Result<S::Outputs> {
            serde_json::from_value::<S>(with)?.run(NoInputs {}, cx)
        }
        let usual = match self.kind {
            kind if kind == Coat::KIND => {
                let read = run::<Coat>(with, cx)?;
                return Ok((read.interactions, read.items, read.users));
            }
            kind if kind == KuaiRec::KIND => {
                let read = run::<KuaiRec>(with, cx)?;
                return Ok((read.interactions, read.items, read.users));
            }
            kind if kind == MovieLens::KIND => run::<MovieLens>(with, cx)?,
            kind if kind == Steam::KIND => run::<Steam>(with, cx)?,
            _ => run::<Recbole>(with, cx)?,
        };
        Ok((usual.interactions, usual.items, usual.users))
    }

    /// The fields of the items that no setting reads, and what each is likely to be.
    ///
    /// # Errors
    /// Where the file of the items cannot be read.
    pub fn item_fields(&self, cx: &Context) -> Result<Vec<Likely>> {
        if self.kind != Recbole::KIND {
            return Ok(Vec::new());
        }
        let Some(file) = AtomicFile::find(&self.folder, "item", OnBadRow::Drop, cx)? else { return Ok(Vec::new()) };
        let is_read = |name: &String| {
            name == "item_id"
                || RESERVED.contains(&name.as_str())
                || self.with.iter().any(|(_, field)| field.as_str() == Some(name))
        };
        let of = |name: &String| {
            let values = file.text(name)?;
            anyhow::Ok(match file.header.is_sequence(name) {
                true => likely_sequence(name, &values),
                false => of_columns([(name, values)].into_iter()).pop(),
            })
        };
        let found: Vec<Option<Likely>> =
            file.header.names.iter().filter(|name| !is_read(name)).map(of).collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The settings that read the held-out part of a benchmark alone, where it has one.
    pub fn test_part(&self) -> Option<String> {
        let parts = self.with.iter().find(|(setting, _)| *setting == "parts")?;
        parts.1.as_array()?.iter().find(|part| *part == "test")?;
        let setting = |(name, value): &(&'static str, Value)| match *name {
            "parts" => "parts: [test]".to_owned(),
            name => format!("{name}: {}", flow(value)),
        };
        let settings: Vec<String> = self.with.iter().map(setting).collect();
        Some(format!("{{ use: {}, with: {{ asset: log, {} }} }}", self.kind, settings.join(", ")))
    }

    /// Refuses a folder that will hold the results of the experiment: no asset may.
    pub fn check_place(&self, experiment: &Path) -> Result<()> {
        ensure!(
            !holds_results(&self.folder, experiment),
            "the dataset's files lie in {}, which will hold the results of the experiment\nhelp: move them to a folder of their own, as \
             data/, and name that",
            self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone()).display()
        );
        Ok(())
    }
}

/// Whether a folder will hold the results of the experiment in that folder: they lie under it, or under the working folder.
fn holds_results(folder: &Path, experiment: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = real(folder);
    real(experiment).starts_with(&folder) || real(Path::new(".")).starts_with(&folder)
}

/// Files that are listed, at most.
const FILES: usize = 8;

/// Whether a file is called like a table beside a log: of items or of users, not of what they did.
fn is_side_table(name: &str) -> bool {
    const SIDE: [&str; 14] = [
        "items", "item", "users", "user", "movies", "films", "products", "books", "songs", "tracks", "artists",
        "readme", "tags", "links",
    ];
    name.split(|c: char| !c.is_alphanumeric()).next().is_some_and(|first| SIDE.contains(&&*first.to_lowercase()))
}

/// Refuses a folder that is no table of parts in Parquet: its files of text are named one by one; and one with results in it.
///
/// # Errors
/// With the names of the files.
pub(super) fn check_folder(folder: &Path, experiment: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let ends = |name: &str, endings: &[&str]| {
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(name);
        name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
    };
    let mut texts: Vec<&String> = names
        .iter()
        .filter(|name| ends(name, &["csv", "tsv", "tab", "json", "jsonl", "ndjson", "txt", "dat"]))
        .collect();
    texts.sort_by_key(|name| is_side_table(name));
    if let Some(first) = texts.first()
        && !names.iter().any(|name| ends(name, &["parquet", "parq", "pqt", "pq"]))
    {
        bail!(
            "{} is a folder, and a log of text is one file\nhelp: name the file, as `--log {}`{}",
            folder.display(),
            folder.join(first).display(),
            match texts.len() {
                1 => String::new(),
                _ => format!(
                    " (there are {}); put the parts of one log into one file",
                    texts.iter().take(FILES).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                ),
            }
        );
    }
    ensure!(
        !holds_results(folder, experiment),
        "{} will hold the results of the experiment, which are no parts of a log\nhelp: name the file of the log, or move its parts to a \
         folder of their own",
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_text_or_of_results_is_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "u,i\n1,2\n").unwrap();
        let error = |experiment: &Path| check_folder(folder.path(), experiment).unwrap_err().to_string();
        assert!(error(folder.path()).contains("will hold the results of the experiment"));
        check_folder(folder.path(), elsewhere.path()).unwrap();
        write("log.csv.gz");
        let one = error(elsewhere.path());
        assert!(one.contains("is a folder") && one.ends_with("log.csv.gz`"), "{one}");
        write("more.csv");
        assert!(error(elsewhere.path()).ends_with("put the parts of one log into one file"));
        write("items.csv");
        let several = error(elsewhere.path());
        assert!(several.contains("log.csv.gz` (there are `log.csv.gz`, `more.csv`, `items.csv`)"), "{several}");
        write("part-0.parquet");
        check_folder(folder.path(), elsewhere.path()).unwrap();
    }

    #[test]
    fn a_dataset_is_known_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let kind = |path: &Path| published(path).unwrap().map(|found| (found.kind, found.with));
        assert_eq!(kind(folder.path()), None);
        write("x.inter", "user_id:token\titem_id:token\n1\t2\n");
        write("x.item", "item_id:token\tmovie_title:token_seq\tclass:token_seq\n2\tHeat\tCrime\n");
        let fields = vec![
            ("rating", Value::Null),
            ("timestamp", Value::Null),
            ("title", json!("movie_title")),
            ("genres", json!("class")),
        ];
        assert_eq!(kind(folder.path()), Some(("ingest.recbole", fields.clone())));
        assert_eq!(kind(&folder.path().join("x.inter")), Some(("ingest.recbole", fields)));
        let mut found = published(folder.path()).unwrap().unwrap();
        let (log, items, _) = found.read(&mut Context::detached(folder.path())).unwrap();
        assert_eq!((log.len(), &*items.title[0], &*items.genres[0]), (1, "Heat", &["Crime".to_owned()][..]));
        assert!(
            found.check_place(folder.path()).unwrap_err().to_string().contains("move them to a folder of their own")
        );
        found.check_place(Path::new("/")).unwrap();
        assert_eq!(found.test_part(), None);
        write("ratings.csv", "a,b\n1,2\n");
        write("movies.csv", "");
        assert_eq!(kind(&folder.path().join("ratings.csv")), None, "a log with other columns");
        write("ratings.csv", "user_id,movieId,rating\n1,2,3\n");
        assert_eq!(kind(&folder.path().join("ratings.csv")), Some(("ingest.movielens", vec![])));
    }
}
