//! `apprentice init --log`: looks into the files of a log and writes an experiment that reads them.
//!
//! A sample decides on form and columns. Then the whole log is read once with the settings that are written, so that counts, times,
//! repeats and rows that would be refused are those of the run. Left out: joins of several logs, text encodings other than UTF-8.

mod column;
mod column_times;
mod downstream;
mod feedback;
mod files;
mod findings;
mod log_text;
mod mixed_times;
#[cfg(test)]
mod odd_logs_tests;
mod published;
mod published_experiment;
mod role_names;
mod roles;
mod sampled_table;
mod side_columns;
mod side_features;
mod table_settings;
#[cfg(test)]
mod tests;
mod text_form;
mod unread;
mod yaml_text;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::log_experiment::{LogExperiment, LogFiles};
use pipeline::progress::Progress;
use pipeline::{AssetName, Context};
use serde_json::json;

use crate::artifact::date_of;
use crate::ingest::datasets::table::{ReadTable, Table};
use crate::ingest::readers::bad_rows::OnBadRow;
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::time_unit::unit_warning;
use column::Column;
use downstream::{Downstream, Sizes, times, title_of};
use feedback::{Called, Feedback};
use files::{check_files, encoding_help};
use findings::Findings;
use log_text::{LogText, unused};
use mixed_times::{mixed, refusal};
use published::{check_folder, published};
use published_experiment::published_experiment;
use role_names::{RATING, fit_of_value, is_amount};
use roles::{Roles, roles};
use sampled_table::{Form, SampledTable};
use table_settings::{column_names, columns_of, log_columns, quotes_of};
use yaml_text::{scalar, share};

/// The share of rows that are refused from which on the settings are taken for wrong.
const TOO_MANY: f64 = 0.5;
/// Looks into the files and writes the experiment.
///
/// # Errors
/// Where a file cannot be read, the columns of ids cannot be told, or half of the rows would be refused.
pub fn log_experiment(request: &LogFiles, progress: &Progress) -> Result<LogExperiment> {
    let scratch = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let mut cx = Context::detached(scratch.path()).telling(progress);
    let is_plain = request.items.is_none() && request.users.is_none() && request.columns.is_empty();
    let is_inter = request.log.extension().is_some_and(|ending| ending == "inter");
    check_files(request)?;
    if (is_plain || is_inter)
        && let Some(found) = published(&request.log)?
    {
        return published_experiment(found, request, &mut cx);
    }
    of_table(request, &mut cx)
}

fn of_table(request: &LogFiles, cx: &mut Context) -> Result<LogExperiment> {
    let mut findings = Findings::default();
    if request.log.is_dir() {
        check_folder(&request.log, &request.folder)?;
    }
    let table = SampledTable::read(&request.log, cx)?;
    let columns = columns_of(&table);
    let is_said_amount = request.columns.iter().any(|(role, _)| role == "amount");
    let said = said(&request.columns);
    let has_names = !matches!(table.form, Form::Text { header: false, .. });
    cx.add_asset("log", &request.log);
    let of_roles = |said: &[(String, String)]| roles(&columns, has_names, said);
    let place = |error: anyhow::Error| anyhow::anyhow!("{}: {error}", request.log.display());
    let said_time = said.iter().find(|(role, _)| role == "timestamp").map(|(_, name)| &**name);
    if let Some(at) = mixed(&columns, said_time) {
        let with = [&said[..], &[("timestamp".to_owned(), columns[at].name.clone())]].concat();
        let read = || {
            let config = log_table(&table, &columns, &of_roles(&with).ok()?, &request.log);
            Some(config.read_all(&part(cx, "mixed").ok()?).ok()?.log.bad.summary()?.1)
        };
        bail!("{}: {}", request.log.display(), refusal(&columns[at], read));
    }
    let roles = of_roles(&said).map_err(place)?;
    let names = column_names(&table, &roles);
    findings.say("form", format!("{}: {}", request.log.display(), table.words()));
    let mut config = log_table(&table, &columns, &roles, &request.log);
    // The log alone says which ids the tables beside it have to hold.
    let mut alone = config.read_all(&part(cx, "alone")?).map_err(|error| not_read(error, &request.log))?;
    // A sample does not show all ids.
    if !config.trim_whitespace && alone.log.new.iter().flatten().any(|id| id.trim() != id) {
        config.trim_whitespace = true;
        alone = config.read_all(&part(cx, "trimmed")?).map_err(|error| not_read(error, &request.log))?;
    }
    check_share(&alone, &request.log)?;
    let called = roles.rating.as_ref().map_or(Called::Neither, |choice| match &*columns[choice.at].name {
        _ if is_said_amount => Called::Amount,
        name if is_amount(name) => Called::Amount,
        name if choice.is_said() || fit_of_value(name, RATING).is_some() => Called::Rating,
        _ => Called::Neither,
    });
    let feedback = Feedback::of(&alone.log.interactions, roles.rating.is_some(), called);
    let is_read = roles.rating.is_some() && feedback != Feedback::Implicit;
    if !is_read {
        config.log.rating = None;
        config.log.decimal = Decimal::Point;
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
    let counts = findings.counts(sizes, interactions);
    let (has_times, has_ties) = times(interactions);
    let has_times = has_times && config.log.timestamp.is_some();
    let refused = refused.map(|(bad, why)| {
        let help = encoding_help(&why, &request.log).map(|help| format!("; {help}")).unwrap_or_default();
        (format!("{} would be refused: {why}{help}", share(bad, read.log.rows as usize)), bad)
    });
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
        by_spread: called == Called::Neither && matches!(feedback, Feedback::Amounts(_)),
        times: config.log.timestamp.as_ref().map(|time| read.times.note(&time.column, &interactions.timestamp)),
        doubted_times: config.log.timestamp.as_ref().and_then(|_| doubted_times(&interactions.timestamp, &read.times)),
        counts: &counts.words,
        warning: counts.warning.as_deref(),
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
    let described = config.items.as_ref().map_or([false; 2], |of| [of.year.is_some(), of.genres.is_some()]);
    let features = side_features::world_lines(items, users, described, Some("items.features"));
    let title = scalar(&title_of(&request.log));
    let rest =
        Downstream { sizes, repeats: counts.repeats, feedback, has_times, has_ties, title, features, test_part: None };
    Ok(findings.into_experiment(format!("{text}\n{}", rest.text())))
}

/// A context with a folder of its own: a log that is read again with other settings must not go on from what was read before.
fn part(cx: &Context, name: &str) -> Result<Context> {
    let part = cx.part(name);
    std::fs::create_dir_all(part.scratch()).context("cannot make a folder for temporary files")?;
    Ok(part)
}

/// What is said of times that are implausible in the unit of the column and plausible in another one.
fn doubted_times(times: &[i64], form: &TimeForm) -> Option<String> {
    let warning = unit_warning(times, form.unit(), None)?;
    let found = warning.split('\n').next().unwrap_or_default();
    Some(format!("{found}: write all in one unit"))
}

fn check_share(read: &ReadTable, path: &Path) -> Result<()> {
    let Some((bad, why)) = read.log.bad.summary() else { return Ok(()) };
    let help = encoding_help(&why, path);
    ensure!(
        (bad as f64) < TOO_MANY * read.log.rows as f64,
        "{} of the rows of {} would be refused: {why}\nhelp: {}",
        share(bad, read.log.rows as usize),
        path.display(),
        help.unwrap_or_else(|| "name other columns with `--columns`, or other tables".to_owned())
    );
    Ok(())
}

/// What the user says, an amount as a rating: which of the two it is is asked later.
fn said(columns: &[(String, String)]) -> Vec<(String, String)> {
    let role = |role: &str| if role == "amount" { "rating" } else { role }.to_owned();
    columns.iter().map(|(of, name)| (role(of), name.clone())).collect()
}

/// The settings that read the log alone.
fn log_table(table: &SampledTable, columns: &[Column], roles: &Roles, path: &Path) -> Table {
    Table {
        asset: AssetName("log".into()),
        log: log_columns(table, columns, roles, &column_names(table, roles), path),
        items: None,
        users: None,
        quotes: quotes_of(table),
        trim_whitespace: table.padded_names || roles.used().any(|at| columns[at].padded > 0),
        on_bad_row: OnBadRow::Drop,
        expected_rows: Default::default(),
    }
}

fn not_read(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("help: ") { error } else { error.context(format!("cannot read {}", path.display())) }
}
