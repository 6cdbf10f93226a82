//! `apprentice runs --table`: the rows of many runs ranked by a measure, with the settings in which they differ side by side.
//!
//! A row is a row of a table of metrics, of a run: a policy that was evaluated, a trial of `tune`. Its settings are those of the run's stages; where
//! it is named for one cell of a stage (`a2c@trial=3`), those of that cell. Returns of two evaluation worlds are no ranking, so the world
//! is a column as soon as there are two.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::args::Runs;
use super::differing_settings::{DifferingSettings, Settings};
use super::format;
use super::output::{print, print_json, talk};
use super::session::Session;
use crate::exit::Failure;
use crate::reason::short;
use crate::record::{self, RunRecord};
use crate::report::{RunSummary, RunSummaryStage};
use crate::{Catalog, Exit, csv_cell};

/// Settings that are shown beside a row where nobody asks for more.
const COLUMNS: usize = 8;
/// Letters of a setting's value that are shown; programs get all.
const SHOWN: usize = 24;
/// Stands where nothing is known.
const NONE: &str = "–";

/// A row of a table of metrics.
struct Row {
    run: String,
    experiment: String,
    stage: String,
    /// Digest of the table that it stands in: several runs may have served one.
    table: String,
    name: String,
    value: f64,
    interval: Option<[f64; 2]>,
    /// Digest of what stood at the input `world`.
    world: Option<String>,
    settings: Settings,
}

pub(super) fn table(session: &Session, args: &Runs, known: &[RunRecord]) -> Result<Exit, Failure> {
    let store = session.store();
    let chosen: Vec<&RunRecord> = match &args.runs[..] {
        [] => known.iter().filter(|run| args.experiment.as_ref().is_none_or(|name| *name == run.experiment)).collect(),
        names => {
            names.iter().map(|name| record::find(known, name)).collect::<Result<_, _>>().map_err(Failure::usage)?
        }
    };
    let mut rows = Vec::new();
    let mut measures = BTreeSet::new();
    for run in chosen {
        let run = RunSummary::of(&store, run)?;
        rows.extend(of_run(&run, args, session.catalog, &mut measures)?);
    }
    if rows.is_empty() {
        return Err(Failure::usage(nothing(args, &measures)));
    }
    // The newest first among equals: its run was listed last. A table that a later run took from the store is one table.
    rows.reverse();
    let mut seen = BTreeSet::new();
    rows.retain(|row: &Row| seen.insert((row.table.clone(), row.name.clone())));
    rows.sort_by(|a, b| if args.ascending { a.value.total_cmp(&b.value) } else { b.value.total_cmp(&a.value) });
    rows.truncate(args.top.unwrap_or(usize::MAX));
    let worlds: BTreeSet<&Option<String>> = rows.iter().map(|row| &row.world).collect();
    let several = worlds.len() > 1;
    if several {
        talk(&format!(
            "these rows come from {} evaluation worlds: returns of two worlds are no ranking; name runs of one, or \
             `--experiment`",
            worlds.len()
        ));
    }
    let settings: Vec<&Settings> = rows.iter().map(|row| &row.settings).collect();
    let most = if args.csv { usize::MAX } else { COLUMNS };
    let differ = DifferingSettings::of(&settings, &args.settings, most).map_err(Failure::usage)?;
    if session.global.json {
        return print_json(json!({ "metric": args.metric, "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>() }));
    }
    if !differ.alike.is_empty() && differ.shown.is_empty() {
        let listed = differ.alike.iter().take(COLUMNS).map(|(name, value)| format!("{name} = {}", shown(value)));
        let more = match differ.alike.len().saturating_sub(COLUMNS) {
            0 => String::new(),
            more => format!(", and {more} more settings"),
        };
        talk(&format!("the same in all rows: {}{more}", listed.collect::<Vec<_>>().join(", ")));
    }
    if differ.hidden > 0 {
        talk(&format!(
            "{} more settings differ: `--settings TEXT` shows those with that text in the name, `--settings .` all",
            differ.hidden
        ));
    }
    let differ = differ.shown;
    let text = if args.csv { as_csv(&rows, args, &differ) } else { as_text(&rows, args, &differ, several) };
    print(&text)
}

fn nothing(args: &Runs, measures: &BTreeSet<String>) -> anyhow::Error {
    let of = if args.row.is_empty() { String::new() } else { format!(" of a row with {}", args.row.join(" or ")) };
    match measures.is_empty() {
        true => anyhow!(
            "these runs have no table of metrics\nhelp: `evaluate` and `tune` make one; `apprentice runs` lists runs"
        ),
        false => anyhow!(
            "no `{}`{of} in these runs\nhelp: they measured {}",
            args.metric,
            measures.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn of_run(
    run: &RunSummary,
    args: &Runs,
    catalog: &Catalog,
    measures: &mut BTreeSet<String>,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for reader in catalog.metrics {
        for (stage, file) in run.files(reader.kind) {
            let values = (reader.read)(file.path()?)?;
            let figures: BTreeMap<&str, f64> = values.iter().map(|(name, value)| (&**name, *value)).collect();
            measures.extend(values.iter().filter_map(|(name, _)| measure(name)));
            for (name, value) in &values {
                let Some(row) = name.strip_suffix(&args.metric).and_then(|row| row.strip_suffix(' ')) else { continue };
                if !args.row.is_empty() && !args.row.iter().any(|part| row.contains(&**part)) {
                    continue;
                }
                let end = |end: &str| figures.get(&*format!("{name} {end}")).copied();
                let world = stage.inputs.iter().find(|input| input.port == "world").map(|input| input.digest.clone());
                rows.push(Row {
                    run: run.id.clone(),
                    experiment: run.experiment.clone(),
                    stage: stage.name.clone(),
                    table: file.digest.clone(),
                    name: row.to_owned(),
                    value: *value,
                    interval: end("low").zip(end("high")).map(|(low, high)| [low, high]),
                    world,
                    settings: settings(run, stage, row),
                });
            }
        }
    }
    Ok(rows)
}

/// The measure of a figure `ROW MEASURE`, whose interval's ends are figures of their own.
fn measure(figure: &str) -> Option<String> {
    let (_, measure) = figure.rsplit_once(' ')?;
    (measure != "low" && measure != "high").then(|| measure.to_owned())
}

/// `stage.setting` → its value, or its values where the cells of a stage differ; of the cell that the row is named for its own alone.
fn settings(run: &RunSummary, table: &RunSummaryStage, row: &str) -> Settings {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // A connection may have a name of its own: then what stood there tells the cell.
    let digest = table.inputs.iter().find(|input| input.named.as_deref() == Some(row)).map(|input| &input.digest);
    let made = |stage: &&RunSummaryStage| stage.files.iter().any(|file| Some(&file.digest) == digest);
    let own = run.stages.iter().find(made).or_else(|| run.stages.iter().find(|stage| stage.name == row));
    let base = |stage: &RunSummaryStage| stage.name.split('@').next().unwrap_or_default().to_owned();
    for stage in &run.stages {
        let of_own = own.is_some_and(|own| base(own) == base(stage));
        if stage.config.is_null() || (of_own && own.is_none_or(|own| own.name != stage.name)) {
            continue;
        }
        flatten(&base(stage), &stage.config, &mut |name, value| {
            let values = found.entry(name).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        });
    }
    found.into_iter().map(|(name, values)| (name, values.join("|"))).collect()
}

fn flatten(path: &str, value: &Value, found: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, found));
        }
        Value::String(text) => found(path.to_owned(), text.clone()),
        _ => found(path.to_owned(), value.to_string()),
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let [low, high] = self.interval.map_or([None, None], |ends| ends.map(Some));
        json!({
            "run": self.run, "experiment": self.experiment, "stage": self.stage, "row": self.name, "value": self.value,
            "low": low, "high": high, "world": self.world, "settings": self.settings,
        })
    }
}

fn as_text(rows: &[Row], args: &Runs, differ: &[String], several: bool) -> String {
    let mut head: Vec<String> = [&args.metric, "95 %", "row", "run"].map(|name: &str| name.to_owned()).into();
    let tables: BTreeSet<(&str, &str)> = rows.iter().map(|row| (&*row.run, &*row.stage)).collect();
    let runs: BTreeSet<&str> = tables.iter().map(|(run, _)| *run).collect();
    let by_stage = tables.len() > runs.len();
    if by_stage {
        head.push("stage".into());
    }
    let experiments: BTreeSet<&str> = rows.iter().map(|row| &*row.experiment).collect();
    if experiments.len() > 1 {
        head.push("experiment".into());
    }
    if several {
        head.push("world".into());
    }
    head.extend(differ.iter().cloned());
    let line = |row: &Row| {
        let interval = row.interval.map_or_else(String::new, |[low, high]| format!("[{low:.3}, {high:.3}]"));
        let mut cells = vec![format!("{:.3}", row.value), interval, row.name.clone(), row.run.clone()];
        if by_stage {
            cells.push(row.stage.clone());
        }
        if experiments.len() > 1 {
            cells.push(row.experiment.clone());
        }
        if several {
            cells.push(row.world.as_deref().map_or_else(|| NONE.into(), short));
        }
        cells
            .extend(differ.iter().map(|name| row.settings.get(name).map_or_else(|| NONE.into(), |value| shown(value))));
        cells
    };
    format::columns(&std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>())
}

fn shown(value: &str) -> String {
    if value.chars().count() <= SHOWN {
        return value.to_owned();
    }
    value.chars().take(SHOWN - 1).chain(['…']).collect()
}

fn as_csv(rows: &[Row], args: &Runs, differ: &[String]) -> String {
    let fixed = ["run", "experiment", "stage", "row", &args.metric, "low", "high", "world"];
    let head = fixed.into_iter().map(csv_cell).chain(differ.iter().map(|name| csv_cell(name)));
    let mut text = head.collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let [low, high] = row.interval.map_or_else(Default::default, |ends| ends.map(|end| end.to_string()));
        let world = row.world.as_deref().unwrap_or_default();
        let mut cells: Vec<String> = [&*row.run, &row.experiment, &row.stage, &row.name].map(csv_cell).into();
        cells.extend([row.value.to_string(), low, high, world.to_owned()]);
        cells
            .extend(differ.iter().map(|name| row.settings.get(name).map_or_else(String::new, |value| csv_cell(value))));
        text += &(cells.join(",") + "\n");
    }
    text
}
