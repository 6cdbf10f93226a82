//! `apprentice init --log`: looks into the files of a log and writes an experiment that reads them.
//!
//! A sample decides on form and columns. Then the whole log is read once with the settings that are written, so that counts, times,
//! repeats and rows that would be refused are those of the run. Left out: joins of several logs, text encodings other than UTF-8.

mod column;
mod downstream;
mod feedback;
mod log_text;
mod published;
mod roles;
mod sampled_table;
mod side_columns;
mod side_features;
#[cfg(test)]
mod tests;
mod unread;
mod yaml_text;

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::log_experiment::{LogExperiment, LogFiles};
use pipeline::progress::Progress;
use pipeline::{AssetName, Context};
use serde_json::{Map, Value, json};

use super::bad_rows::OnBadRow;
use super::side_table::Quotes;
use super::table::{LogColumns, ReadTable, Table, TimeColumn};
use crate::artifact::{Interactions, date_of};
use column::Column;
use downstream::{Downstream, Sizes};
use feedback::Feedback;
use log_text::{LogText, unused};
use published::{Published, check_folder, published};
use roles::{Roles, is_amount, roles};
use sampled_table::{Form, SampledTable};
use yaml_text::{count, flow, path_from, scalar, share};

/// The share of rows that are refused from which on the settings are taken for wrong.
const TOO_MANY: f64 = 0.5;
/// The share of rows of a user at one time from which on their order is drawn.
const TIED: f64 = 0.2;

/// Looks into the files and writes the experiment.
///
/// # Errors
/// Where a file cannot be read, the columns of ids cannot be told, or half of the rows would be refused.
pub fn log_experiment(request: &LogFiles, progress: &Progress) -> Result<LogExperiment> {
    let scratch = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let mut cx = Context::detached(scratch.path()).telling(progress);
    let is_plain = request.items.is_none() && request.users.is_none() && request.columns.is_empty();
    let is_inter = request.log.extension().is_some_and(|ending| ending == "inter");
    ensure!(request.log.exists(), "{} does not exist\nhelp: correct `--log`", request.log.display());
    if (is_plain || is_inter)
        && let Some(found) = published(&request.log)?
    {
        return of_published(found, request, &mut cx);
    }
    of_table(request, &mut cx)
}

/// What was found, for people and for programs.
#[derive(Default)]
struct Findings {
    sentences: Vec<(String, String)>,
    details: Map<String, Value>,
}

impl Findings {
    fn say(&mut self, name: &str, sentence: impl Into<String>) {
        self.sentences.push((name.to_owned(), sentence.into()));
    }

    fn detail(&mut self, name: &str, value: Value) {
        self.details.insert(name.to_owned(), value);
    }

    /// The counts of the log.
    fn sizes(&mut self, sizes: Sizes, log: &Interactions) -> ((usize, usize), String) {
        let Sizes { users, items, rows } = sizes;
        let (repeats, copies) = repeated_rows(log);
        let counts = format!("{} rows of {} users and {} items", count(rows), count(users), count(items));
        self.say("rows", &counts);
        self.detail("rows", rows.into());
        self.detail("users", users.into());
        self.detail("items", items.into());
        self.detail("repeats", repeats.into());
        if repeats > 0 {
            self.say("repeats", format!("{} rows repeat a user and an item", share(repeats, rows)));
        }
        ((repeats, copies), counts)
    }

    fn into_experiment(self, text: String) -> LogExperiment {
        LogExperiment { text, findings: self.sentences, details: Value::Object(self.details) }
    }
}

fn of_published(mut found: Published, request: &LogFiles, cx: &mut Context) -> Result<LogExperiment> {
    found.check_place(&request.folder)?;
    let (log, items, users) = found.read(cx)?;
    let sizes = Sizes { users: users.id.len(), items: items.len(), rows: log.len() };
    let feedback = Feedback::of(&log, true, found.kind == "ingest.kuairec");
    let mut findings = Findings::default();
    findings.say("form", format!("`{}`: {}", found.kind, found.why));
    findings.detail("reader", found.kind.into());
    findings.detail("settings", found.with.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
    findings.detail("feedback", feedback.name().into());
    let (repeats, counts) = findings.sizes(sizes, &log);
    let (has_times, has_ties) = times(&log);
    let asset = scalar(&format!("{}/", path_from(&request.folder, &found.folder).display()).replace("//", "/"));
    let mut text = format!(
        "assets: # the folder of the dataset, used where it lies\n  log: {{ from: [{{ path: {asset} }}] }}\n\nstages:\n  # {counts}.\n  \
         log:\n    use: {} # {}\n    with:\n      asset: log\n",
        found.kind, found.why,
    );
    for (setting, value) in &found.with {
        let why = match (*setting, value) {
            ("rating", Value::Null) => " # the log has no such field: each row counts as 1",
            ("timestamp", Value::Null) => " # the log has no such field",
            ("parts", _) => " # all parts of the log; ids are numbered over all of them",
            ("on_bad_row", _) => " # some rows would be refused; the run says which",
            _ => "",
        };
        text += &format!("      {setting}: {}{why}\n", flow(value));
    }
    let title = scalar(&title_of(&found.folder));
    let test_part = found.test_part();
    let rest = Downstream { sizes, repeats, feedback, has_times, has_ties, title, features: String::new(), test_part };
    Ok(findings.into_experiment(format!("{text}\n{}", rest.text())))
}

fn of_table(request: &LogFiles, cx: &mut Context) -> Result<LogExperiment> {
    let mut findings = Findings::default();
    if request.log.is_dir() {
        check_folder(&request.log, &request.folder)?;
    }
    let table = SampledTable::read(&request.log, cx)?;
    let columns = columns_of(&table);
    let said = &request.columns;
    let has_names = !matches!(table.form, Form::Text { header: false, .. });
    let roles =
        roles(&columns, has_names, said).map_err(|error| anyhow::anyhow!("{}: {error}", request.log.display()))?;
    let names = column_names(&table, &roles);
    findings.say("form", format!("{}: {}", request.log.display(), table.words()));
    let mut config = Table {
        asset: AssetName("log".into()),
        log: log_columns(&table, &roles, &names, &request.log),
        items: None,
        users: None,
        quotes: quotes_of(&table),
        trim_whitespace: table.padded_names || roles.used().any(|at| columns[at].padded > 0),
        on_bad_row: OnBadRow::Drop,
        expected_rows: Default::default(),
    };
    cx.add_asset("log", &request.log);
    // The log alone says which ids the tables beside it have to hold.
    let mut alone = config.read_all(&part(cx, "alone")?).map_err(|error| not_read(error, &request.log))?;
    // A sample does not show all ids.
    if !config.trim_whitespace && alone.log.new.iter().flatten().any(|id| id.trim() != id) {
        config.trim_whitespace = true;
        alone = config.read_all(&part(cx, "trimmed")?).map_err(|error| not_read(error, &request.log))?;
    }
    check_share(&alone, &request.log)?;
    let is_amount = roles.rating.as_ref().is_some_and(|rating| is_amount(&names[rating.at]));
    let feedback = Feedback::of(&alone.log.interactions, roles.rating.is_some(), is_amount);
    let is_read = roles.rating.is_some() && feedback != Feedback::Implicit;
    if !is_read {
        config.log.rating = None;
    }
    let mut tables = Vec::new();
    let [user_ids, item_ids] = &alone.log.new;
    if let Some(path) = &request.items {
        let (sampled, columns) = side_columns::items(path, item_ids, cx)?;
        cx.add_asset("items", path);
        config.quotes = config.quotes.with(quotes_of(&sampled));
        config.trim_whitespace |= sampled.padded_names || sampled.is_padded(&columns.id);
        config.items = Some(columns);
        tables.push(("items", path.clone(), sampled));
    }
    if let Some(path) = &request.users {
        let (sampled, columns) = side_columns::users(path, user_ids, cx)?;
        cx.add_asset("users", path);
        config.quotes = config.quotes.with(quotes_of(&sampled));
        config.trim_whitespace |= sampled.padded_names || sampled.is_padded(&columns.id);
        config.users = Some(columns);
        tables.push(("users", path.clone(), sampled));
    }
    let read = if tables.is_empty() && is_read { alone } else { config.read_all(&part(cx, "whole")?)? };
    check_share(&read, &request.log)?;
    let refused = read.log.bad.summary();
    // Rows of the tables that would be refused are not counted: it is tried.
    config.on_bad_row = OnBadRow::Refuse;
    let refuses_sides = refused.is_none() && config.read_sides(&part(cx, "sides")?).is_err();
    if refused.is_some() || refuses_sides {
        config.on_bad_row = OnBadRow::Drop;
    }
    let interactions = &read.log.interactions;
    let [new_users, new_items] = &read.log.new;
    let sizes = Sizes {
        users: read.users.as_ref().map_or(new_users.len(), |users| users.id.len()),
        items: read.items.as_ref().map_or(new_items.len(), crate::artifact::Items::len),
        rows: interactions.len(),
    };
    let (repeats, counts) = findings.sizes(sizes, interactions);
    let (has_times, has_ties) = times(interactions);
    let has_times = has_times && config.log.timestamp.is_some();
    let refused =
        refused.map(|(bad, why)| (format!("{} would be refused: {why}", share(bad, read.log.rows as usize)), bad));
    if let Some((sentence, _)) = &refused {
        findings.say("bad rows", sentence);
    }
    let written = LogText {
        request,
        config: &config,
        form: &table,
        columns: &columns,
        names: &names,
        roles: &roles,
        feedback,
        times: config.log.timestamp.as_ref().map(|time| read.times.note(&time.column, &interactions.timestamp)),
        counts: &counts,
        refused: refused.as_ref().map(|(sentence, _)| &**sentence),
        refuses_sides,
        unused: {
            let used: Vec<&str> = roles.used().map(|at| &*columns[at].name).collect();
            unused(&columns, &used, true)
        },
        tables: &tables,
    };
    written.tell(&mut findings);
    findings.detail("bad_rows", refused.as_ref().map_or(0, |(_, bad)| *bad).into());
    findings.detail("settings", serde_json::to_value(&config)?);
    if has_times
        && let (Some(first), Some(last)) = (interactions.timestamp.iter().min(), interactions.timestamp.iter().max())
    {
        findings
            .detail("times", json!({ "form": read.times.words(), "first": date_of(*first), "last": date_of(*last) }));
    }
    let text = written.text();
    let sampled = |of: &str| tables.iter().find(|(name, ..)| *name == of).map(|(.., table)| table);
    let of_items = sampled("items").zip(config.items.as_ref());
    let items = of_items.map(|(table, columns)| side_features::of_items(table, columns)).unwrap_or_default();
    let of_users = sampled("users").zip(config.users.as_ref());
    let users = of_users.map(|(table, columns)| side_features::of_users(table, columns)).unwrap_or_default();
    let features = side_features::world_lines(items, users, config.items.as_ref());
    let title = scalar(&title_of(&request.log));
    let rest = Downstream { sizes, repeats, feedback, has_times, has_ties, title, features, test_part: None };
    Ok(findings.into_experiment(format!("{text}\n{}", rest.text())))
}

/// The columns of a sampled table.
fn columns_of(table: &SampledTable) -> Vec<Column> {
    let column = |(at, name): (usize, &String)| {
        let values: Vec<&str> = table.rows.iter().map(|row| &*row[at]).collect();
        Column::new(name, &values, table.typed_times[at])
    };
    table.names.iter().enumerate().map(column).collect()
}

/// The names of a table's columns: where a file has none, those of the roles.
fn column_names(table: &SampledTable, roles: &Roles) -> Vec<String> {
    let mut names = table.names.clone();
    if matches!(table.form, Form::Text { header: false, .. }) {
        let named = [
            ("user", Some(&roles.user)),
            ("item", Some(&roles.item)),
            ("rating", roles.rating.as_ref()),
            ("timestamp", roles.time.as_ref()),
        ];
        for (name, choice) in named {
            choice.into_iter().for_each(|choice| name.clone_into(&mut names[choice.at]));
        }
    }
    names
}

fn log_columns(table: &SampledTable, roles: &Roles, names: &[String], path: &Path) -> LogColumns {
    let name = |at: usize| names[at].clone();
    LogColumns {
        file: file_name(path),
        names: matches!(table.form, Form::Text { header: false, .. }).then(|| names.to_vec()),
        separator: separator_of(table, path),
        user: name(roles.user.at),
        item: name(roles.item.at),
        rating: roles.rating.as_ref().map(|choice| name(choice.at)),
        timestamp: roles.time.as_ref().map(|choice| TimeColumn { column: name(choice.at), unit: None, format: None }),
    }
}

/// The separator, where the extension does not say it.
fn separator_of(table: &SampledTable, path: &Path) -> Option<String> {
    let Form::Text { separator, .. } = table.form else { return None };
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    let usual = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => Some(","),
        Some("tsv" | "tab") => Some("\t"),
        _ => None,
    };
    (usual != Some(separator)).then(|| separator.to_owned())
}

fn quotes_of(table: &SampledTable) -> Quotes {
    match table.form {
        Form::Text { separator, quotes, .. } if quotes != Quotes::ByEnding.allowed_in(separator) => {
            if quotes {
                Quotes::Always
            } else {
                Quotes::Never
            }
        }
        _ => Quotes::ByEnding,
    }
}

/// A context with a folder of its own: a log that is read again with other settings must not go on from what was read before.
fn part(cx: &Context, name: &str) -> Result<Context> {
    let part = cx.part(name);
    std::fs::create_dir_all(part.scratch()).context("cannot make a folder for temporary files")?;
    Ok(part)
}

/// The setting `file` for a table that is an asset of its own.
fn file_name(path: &Path) -> String {
    if path.is_dir() { ".".to_owned() } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
}

fn title_of(path: &Path) -> String {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or(&name).to_owned()
}

/// How many rows repeat the user and the item of an earlier row, and how many of these are copies of it, also in rating and time.
fn repeated_rows(log: &Interactions) -> (usize, usize) {
    fn repeats<T: Ord>(mut keys: Vec<T>) -> usize {
        let rows = keys.len();
        keys.sort_unstable();
        keys.dedup();
        rows - keys.len()
    }
    let row = |row: usize| (log.user[row], log.item[row], log.rating[row].to_bits(), log.timestamp[row]);
    let pairs = log.user.iter().zip(&log.item).collect();
    (repeats::<(&u32, &u32)>(pairs), repeats((0..log.len()).map(row).collect()))
}

/// Whether a log has times, and whether many rows of a user share one.
fn times(log: &Interactions) -> (bool, bool) {
    let has_times = log.timestamp.iter().any(|time| *time != log.timestamp[0]);
    let distinct: HashSet<(u32, i64)> = log.user.iter().copied().zip(log.timestamp.iter().copied()).collect();
    (has_times, (log.len() - distinct.len()) as f64 > TIED * log.len() as f64)
}

fn check_share(read: &ReadTable, path: &Path) -> Result<()> {
    let Some((bad, why)) = read.log.bad.summary() else { return Ok(()) };
    ensure!(
        (bad as f64) < TOO_MANY * read.log.rows as f64,
        "{} of the rows of {} would be refused: {why}\nhelp: name other columns with `--columns`, or other tables",
        share(bad, read.log.rows as usize),
        path.display()
    );
    Ok(())
}

fn not_read(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("help: ") { error } else { error.context(format!("cannot read {}", path.display())) }
}
