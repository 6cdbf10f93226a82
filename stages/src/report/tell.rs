//! Tells runs: the page of one together with what was run, or tables of one or several in any form.

use anyhow::{Context as _, Result, bail};
use pipeline::report::{Form, Ran, RanFile, RanStage, Request};
use pipeline::{Artifact, Wrong};
use serde_json::{Value, json};

use super::difference;
use super::row::{self, Row};
use super::{caution, markdown, separated, several, trap, what_ran};
use crate::artifact::{Comparisons, Estimates, Metric, Metrics, Page, Rollouts};
use crate::report::verdict::Cast;

/// The table of one evaluation in one run, with what belongs to it.
pub(super) struct Table<'a> {
    pub ran: &'a Ran,
    /// The stage that made it.
    pub stage: &'a str,
    pub metrics: Metrics,
    pub rows: Vec<Row>,
    pub comparisons: Option<Comparisons>,
    pub rollouts: Option<Rollouts>,
    /// The world that judged, by its digest.
    pub judge: Option<&'a str>,
}

/// Renders runs in the form that is asked for.
///
/// # Errors
/// [`Wrong`] where the runs hold nothing to tell; else a file is damaged, lost or of another format.
pub fn tell(request: &Request) -> Result<String> {
    if let (Some(file), [ran]) = (request.page, request.runs) {
        let page = Page(std::fs::read_to_string(file.path()?).with_context(|| format!("read {}.{}", file.stage, file.port))?);
        return page.with(&what_ran::section(ran)?).with_context(|| {
            format!(
                "the page {}.{} of run {} was made by an earlier program and has no place for what was run\n\
                 help: run the experiment again",
                file.stage, file.port, ran.id
            )
        });
    }
    let mut tables = Vec::new();
    for ran in request.runs {
        let found = tables_of(ran)?;
        if found.is_empty() {
            bail!(Wrong(format!(
                "run {} of {} holds no metrics, so there is nothing to tell\n\
                 help: add a stage `use: evaluate` to the experiment and run it",
                ran.id, ran.experiment
            )));
        }
        tables.extend(found);
    }
    let alone = request.runs.len() == 1;
    match request.form {
        Form::Csv => Ok(separated::csv(&tables)),
        Form::Json => Ok(object(request.runs, &tables).to_string()),
        Form::Md if alone => Ok(markdown::run(&request.runs[0], &tables, &estimates(&request.runs[0])?)),
        Form::Md => Ok(several::markdown(request.runs, &tables)),
        Form::Html => several::page(request.runs, &tables),
    }
}

/// The tables of a run in the order of its experiment.
fn tables_of(ran: &Ran) -> Result<Vec<Table<'_>>> {
    let mut tables = Vec::new();
    for (stage, file) in ran.files(Metrics::KIND) {
        let metrics: Metrics = read(file)?;
        let rollouts = beside::<Rollouts>(stage)?;
        let judge = stage.inputs.iter().find(|input| input.port == "world").map(|input| input.digest.as_str());
        let (rows, comparisons) = (row::rows(&metrics, rollouts.as_ref()), beside(stage)?);
        tables.push(Table { ran, stage: &stage.name, rows, comparisons, rollouts, judge, metrics });
    }
    Ok(tables)
}

/// Off-policy estimates of a run, by the stage that made them.
fn estimates(ran: &Ran) -> Result<Vec<(&str, Estimates)>> {
    ran.files(Estimates::KIND).map(|(stage, file)| Ok((stage.name.as_str(), read(file)?))).collect()
}

fn beside<A: Artifact>(stage: &RanStage) -> Result<Option<A>> {
    stage.files.iter().find(|file| file.kind == A::KIND).map(read).transpose()
}

fn read<A: Artifact>(file: &RanFile) -> Result<A> {
    A::read(file.path()?).with_context(|| {
        format!("{}.{} cannot be read\nhelp: made by another version of the program? run the experiment again", file.stage, file.port)
    })
}

impl Table<'_> {
    /// What a careful reader would object to.
    pub fn cautions(&self) -> Vec<String> {
        caution::cautions(&self.rows, &Cast::of(&self.rows, None), self.rollouts.as_ref(), None)
    }

    /// Which differences are real, in words; says what is missing where nothing was compared.
    pub fn differences(&self) -> Vec<String> {
        match &self.comparisons {
            Some(comparisons) => difference::sentences(&difference::judge(comparisons)),
            None => vec!["Rows were not compared with the same users, so no difference is called real here.".to_owned()],
        }
    }
}

/// Runs and tables for programs.
fn object(runs: &[Ran], tables: &[Table]) -> Value {
    let stage = |stage: &RanStage| {
        json!({
            "stage": stage.name, "kind": stage.kind, "version": stage.version, "status": stage.status,
            "seconds": stage.seconds, "made_in_seconds": stage.made_in_seconds,
            "made_by": stage.made_by.as_ref().map(|(run, host)| json!({ "run": run, "host": host })),
            "seed": what_ran::seed(&stage.config), "config": stage.config, "notes": stage.notes,
            "assets": stage.assets.iter()
                .map(|asset| json!({ "name": asset.name, "from": asset.origin, "digest": asset.digest })).collect::<Vec<_>>(),
        })
    };
    let metric = |m: &Metric| {
        json!({
            "policy": m.policy, "control": m.control, "remark": m.remark, "metric": m.metric, "mean": m.mean, "low": m.low,
            "high": m.high, "seeds": m.seeds, "episodes": m.episodes,
        })
    };
    let table = |table: &Table| {
        json!({
            "stage": table.stage, "judge": table.judge, "rows": table.metrics.0.iter().map(metric).collect::<Vec<_>>(),
            "differences": table.differences(), "cautions": table.cautions(),
        })
    };
    let run = |ran: &Ran| {
        let own = tables.iter().filter(|table| table.ran.id == ran.id).map(table);
        json!({
            "run": ran.id, "experiment": ran.experiment, "status": ran.status, "command": ran.command, "host": ran.host,
            "machine": ran.machine, "program": ran.program, "started": ran.started, "seconds": ran.seconds,
            "jobs": ran.jobs, "threads": ran.threads, "cautions": trap::traps(ran),
            "stages": ran.stages.iter().map(stage).collect::<Vec<_>>(), "tables": own.collect::<Vec<_>>(),
        })
    };
    json!({ "runs": runs.iter().map(run).collect::<Vec<_>>(), "settings": several::settings(runs).iter().map(several::Setting::to_json).collect::<Vec<_>>() })
}
