//! Tells runs: the page of one together with what was run, or tables of one or several in any form.

use anyhow::{Context as _, Result, bail};
use pipeline::report::{ReportFormat, Request, RunSummary, RunSummaryStage};
use pipeline::{Artifact, UsageError};
use serde_json::{Value, json};

use crate::artifact::{Estimates, Metric, Page, RankingMetric, RankingMetrics, RowRole};
use crate::report::findings::evaluation_table::{Table, all_of, tables_of};
use crate::report::findings::{cost, latency, provenance_checks, teachers};
use crate::report::render::{compare, csv, markdown, run_info};

/// Renders runs in the form that is asked for.
///
/// # Errors
/// [`UsageError`] where the runs hold nothing to tell; else a file is damaged, lost or of another format.
pub fn render(request: &Request) -> Result<String> {
    if let (Some(file), [ran]) = (request.page, request.runs) {
        let page =
            Page(std::fs::read_to_string(file.path()?).with_context(|| format!("read {}.{}", file.stage, file.port))?);
        return page.with(&run_info::section(ran, Some(file))?).with_context(|| {
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
        // A ranking alone is something to tell, though no page is made of it.
        let ranked = request.format != ReportFormat::Html && ran.files(RankingMetrics::KIND).next().is_some();
        if found.is_empty() && !ranked {
            bail!(UsageError(nothing(ran)));
        }
        tables.extend(found);
    }
    let alone = request.runs.len() == 1;
    match request.format {
        ReportFormat::Csv => {
            let mut all = Vec::new();
            for ran in request.runs {
                all.extend(all_of::<Estimates>(ran)?.into_iter().map(|(stage, estimates)| (ran, stage, estimates)));
            }
            let mut rankings = Vec::new();
            for ran in request.runs {
                rankings.extend(all_of::<RankingMetrics>(ran)?.into_iter().map(|(stage, found)| (ran, stage, found)));
            }
            Ok(csv::csv(&tables, &rankings, &all))
        }
        ReportFormat::Json => Ok(object(request.runs, &tables)?.to_string()),
        ReportFormat::Md if alone => {
            let ran = &request.runs[0];
            Ok(markdown::run(ran, &tables, &all_of(ran)?, &all_of(ran)?))
        }
        ReportFormat::Md => Ok(compare::markdown(request.runs, &tables)),
        ReportFormat::Html => compare::page(request.runs, &tables),
    }
}

/// Why a run has nothing to tell, and what to do; where it stopped early, the command says which other run to ask for.
fn nothing(ran: &RunSummary) -> String {
    let RunSummary { id, experiment, status, .. } = ran;
    if ran.files(RankingMetrics::KIND).next().is_some() {
        return format!(
            "run {id} of {experiment} holds a ranking and no metrics, which pages of several runs compare\n\
             help: `--format csv` gives the ranking of each"
        );
    }
    if status == "ok" {
        return format!(
            "run {id} of {experiment} holds no metrics, so there is nothing to report\n\
             help: add a stage `use: evaluate` to the experiment and run it"
        );
    }
    format!("run {id} of {experiment} ended before it had any metrics, so there is nothing to report")
}

/// Runs and tables for programs.
fn object(runs: &[RunSummary], tables: &[Table]) -> Result<Value> {
    let stage = |stage: &RunSummaryStage| {
        json!({
            "stage": stage.name, "kind": stage.kind, "version": stage.version, "status": stage.status,
            "seconds": stage.seconds, "made_in_seconds": stage.made_in_seconds,
            "made_by": stage.made_by.as_ref().map(|(run, host)| json!({ "run": run, "host": host })),
            "seed": run_info::seed(&stage.config), "config": stage.config, "notes": stage.notes,
            "assets": stage.assets.iter()
                .map(|asset| json!({ "name": asset.name, "from": asset.origin, "digest": asset.digest })).collect::<Vec<_>>(),
        })
    };
    let metric = |m: &Metric| {
        json!({
            "policy": m.policy, "role": m.role.name(), "control": m.role == RowRole::Baseline, "privileged": m.privileged, "remark": m.remark, "metric": m.metric,
            "mean": m.mean, "low": m.low, "high": m.high, "seeds": m.seeds, "episodes": m.episodes,
        })
    };
    let table = |table: &Table| {
        json!({
            "stage": table.stage, "evaluation_world": table.evaluation_world, "rows": table.metrics.rows.iter().map(metric).collect::<Vec<_>>(),
            "missing": table.metrics.missing,
            "differences": table.differences(), "cautions": table.caveats(),
        })
    };
    let models = |ran: &RunSummary| {
        let own = tables.iter().filter(move |table| table.ran.id == ran.id);
        own.filter_map(|table| teachers::Models::of(table.ran, table.stage, &table.rows))
            .collect::<Vec<_>>()
            .into_iter()
    };
    let ranked = |(stage, found): (&str, RankingMetrics)| {
        let row = |m: &RankingMetric| {
            json!({
                "system": m.system, "baseline": m.baseline, "metric": m.metric, "k": m.k, "mean": m.mean, "low": m.low, "high": m.high,
                "best_baseline": m.best_baseline, "difference": m.difference, "difference_low": m.difference_low,
                "difference_high": m.difference_high, "p": m.p, "seeds": m.seeds, "users": m.users, "missing": m.missing,
            })
        };
        json!({ "stage": stage, "rows": found.0.iter().map(row).collect::<Vec<_>>() })
    };
    let run = |ran: &RunSummary| -> Result<Value> {
        let rankings: Vec<Value> = all_of(ran)?.into_iter().map(ranked).collect();
        let own = tables.iter().filter(|table| table.ran.id == ran.id).map(table);
        Ok(json!({
            "run": ran.id, "experiment": ran.experiment, "status": ran.status, "command": ran.command, "host": ran.host,
            "machine": ran.machine, "program": ran.program, "started": ran.started, "seconds": ran.seconds, "cost": cost::Cost::of(ran).to_json(),
            "jobs": ran.jobs, "threads": ran.threads, "cautions": provenance_checks::findings(ran, None),
            "times": latency::speeds(ran).iter().map(latency::LatencyTable::to_json).collect::<Vec<_>>(),
            "models": models(ran).map(|models| models.to_json()).collect::<Vec<_>>(),
            "stages": ran.stages.iter().map(stage).collect::<Vec<_>>(), "tables": own.collect::<Vec<_>>(),
            "rankings": rankings,
        }))
    };
    let told = runs.iter().map(run).collect::<Result<Vec<_>>>()?;
    Ok(
        json!({ "runs": told, "settings": compare::settings(runs).iter().map(compare::Setting::to_json).collect::<Vec<_>>() }),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::report::RunSummaryFile;

    use super::*;
    use crate::artifact::Metrics;
    use crate::report::fixture;

    /// A run of one evaluation with hostile texts wherever data can put them.
    fn hostile(folder: &Path) -> RunSummary {
        let evil = "<script>|`x`@all";
        let mut metrics = fixture::metrics();
        for metric in &mut metrics.rows {
            metric.policy = format!("=cmd {evil}{}", metric.policy);
            metric.remark = format!("{evil}\n{}", metric.remark);
        }
        let path = folder.join("metrics");
        metrics.write(&path).unwrap();
        let mut ran = fixture::ran();
        let mut stage = fixture::stage("score", "evaluate", &[("world", "w")], &[]);
        stage.files.push(RunSummaryFile {
            stage: "score".to_owned(),
            port: "metrics".to_owned(),
            kind: Metrics::KIND.to_owned(),
            extension: "parquet".to_owned(),
            digest: blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string(),
            object: path,
        });
        (ran.command, ran.config) = (format!("apprentice run '{evil}'"), format!("# {evil}\n"));
        ran.stages.push(stage);
        ran
    }

    #[test]
    fn hostile_texts_stay_texts_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let ran = hostile(folder.path());
        let mut later = ran.clone();
        later.id = "20250201T120000Z-1".to_owned();
        let (one, two) = ([ran.clone()], [ran, later]);
        let render = |format, runs: &[RunSummary]| render(&Request { format, runs, page: None }).unwrap();
        let page = render(ReportFormat::Html, &two);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        for text in [render(ReportFormat::Md, &one), render(ReportFormat::Md, &two)] {
            // Inside the block of code it is the experiment itself.
            let (prose, _) = text.split_once("```").unwrap_or((&text, ""));
            assert!(!prose.contains("<script") && !prose.contains("@all") && prose.contains("\\|\\`x\\`"), "{prose}");
            for line in prose.lines().filter(|line| line.contains("=cmd")) {
                assert!(!line.starts_with('|') || line.replace("\\|", "").matches('|').count() >= 4, "{line}");
            }
        }
        let csv = render(ReportFormat::Csv, &two);
        assert!(csv.contains(",\"'=cmd <script>|`x`@allrandom\",true,false,") && !csv.contains(",=cmd"), "{csv}");
        let json: Value = serde_json::from_str(&render(ReportFormat::Json, &one)).unwrap();
        assert_eq!(json["runs"][0]["tables"][0]["rows"].as_array().unwrap().len(), 72);
        assert_eq!(json["runs"][0]["stages"][0]["assets"][0]["digest"], "ab12");
    }

    #[test]
    fn a_changed_object_and_a_run_without_metrics_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut ran = hostile(folder.path());
        let error = |ran: &RunSummary| {
            let runs = std::slice::from_ref(ran);
            render(&Request { format: ReportFormat::Csv, runs, page: None }).unwrap_err().to_string()
        };
        ran.stages[0].files[0].digest.replace_range(..1, "x");
        assert!(
            error(&ran).contains("score.metrics: the object x") && error(&ran).contains("help: "),
            "{}",
            error(&ran)
        );
        ran.stages.clear();
        ran.status = "failed".to_owned();
        assert!(
            error(&ran).ends_with("ended before it had any metrics, so there is nothing to report"),
            "{}",
            error(&ran)
        );
        ran.status = "ok".to_owned();
        assert!(error(&ran).contains("holds no metrics") && error(&ran).contains("help: "), "{}", error(&ran));
    }

    #[test]
    fn a_page_is_told_with_its_run_and_an_old_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut ran = hostile(folder.path());
        let path = folder.path().join("page");
        let render = |ran: &mut RunSummary, text: String| {
            std::fs::write(&path, &text).unwrap();
            let mut file = ran.stages[0].files[0].clone();
            (file.object, file.digest) = (path.clone(), blake3::hash(text.as_bytes()).to_hex().to_string());
            render(&Request { format: ReportFormat::Html, runs: std::slice::from_ref(ran), page: Some(&file) })
        };
        let page = render(&mut ran, format!("a{}b", Page::PLACE)).unwrap();
        assert!(
            page.starts_with('a') && page.ends_with('b') && page.contains("<b>Run</b>") && !page.contains("<script")
        );
        assert!(render(&mut ran, "old".to_owned()).unwrap_err().to_string().contains("help: run the experiment again"));
    }
}
