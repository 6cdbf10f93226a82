//! The section of a page on its run: command, machine, times, seeds, assets, and every setting.

use anyhow::Result;
use minijinja::{Value, context};
use pipeline::WARNING;
use pipeline::report::{RunSummary, RunSummaryAsset, RunSummaryFile, RunSummaryStage};

use crate::report::findings::cost::Cost;
use crate::report::findings::latency::{self, LatencyRow, LatencyTable};
use crate::report::findings::{provenance_checks, teachers};
use crate::report::render::link::Linker;
use crate::report::render::page::fill;
use crate::report::table::format;

/// The section, ready to be put into `page`.
pub(in crate::report) fn section(ran: &RunSummary, page: Option<&RunSummaryFile>) -> Result<String> {
    let models = teachers::models(ran)?;
    let several = models.len() > 1;
    let table = |models: &teachers::Models| {
        context! { stage => several.then_some(models.stage.as_str()), said => models.said(), rows => models.cells() }
    };
    let models: Value = models.iter().map(table).collect();
    // The page that it is put into explains the terms.
    let mut linker = Linker::new(&[]);
    fill(
        "run_info.html.j2",
        context! {
            run => facts(ran),
            findings => provenance_checks::findings(ran, page).iter().map(|trap| linker.text(trap)).collect::<Vec<_>>(),
            speeds => speeds(ran),
            models,
            heads => teachers::Models::heads(),
        },
    )
}

/// The times of each evaluation; its stage is named where there are several.
fn speeds(ran: &RunSummary) -> Value {
    let found = latency::speeds(ran);
    let cells = |row: &LatencyRow| {
        let [name, time, times] = row.cells();
        context! { name, time, times }
    };
    let one = |speed: &LatencyTable| {
        context! {
            stage => (found.len() > 1).then_some(speed.stage.as_str()),
            teacher => speed.teacher.as_str(),
            rows => speed.rows.iter().map(cells).collect::<Value>(),
        }
    };
    found.iter().map(one).collect()
}

/// The facts of a run as the templates take them.
pub(in crate::report) fn facts(ran: &RunSummary) -> Value {
    context! {
        id => ran.id.as_str(),
        experiment => ran.experiment.as_str(),
        status => ran.status.as_str(),
        command => ran.command.as_str(),
        host => ran.host.as_str(),
        machine => ran.machine.as_str(),
        program => ran.program.as_str(),
        started => started(ran),
        took => format::seconds(ran.seconds),
        cost => Cost::of(ran).said(),
        jobs => ran.jobs,
        threads => ran.threads,
        config => ran.config.as_str(),
        stages => ran.stages.iter().map(|row| stage(ran, row)).collect::<Value>(),
        assets => assets(ran).into_iter().map(|asset| context! { name => asset.name.as_str(), origin => asset.origin.as_str(), digest => asset.digest.as_str() }).collect::<Value>(),
    }
}

/// `2025-01-31 12:00:00 UTC`.
pub(in crate::report) fn started(ran: &RunSummary) -> String {
    format!("{} UTC", ran.started.replace('T', " ").trim_end_matches('Z'))
}

fn stage(ran: &RunSummary, stage: &RunSummaryStage) -> Value {
    context! {
        name => stage.name.as_str(),
        kind => stage.kind.as_str(),
        version => stage.version,
        status => stage.status.as_str(),
        took => stage.made_in_seconds.map(format::seconds),
        made_by => made_elsewhere(ran, stage),
        seed => seed(&stage.config),
        notes => notes(ran, stage).into_iter().map(|(name, value)| context! { name, value }).collect::<Value>(),
        config => if stage.config.is_null() { String::new() } else { format!("{:#}", stage.config) },
    }
}

/// What a stage noted. A warning that cells of one sweep share stands at the first of them, which names the others.
fn notes(ran: &RunSummary, stage: &RunSummaryStage) -> Vec<(String, String)> {
    let name = provenance_checks::parts(&stage.name).0;
    let told = |(key, value): (&String, &String)| {
        let warns = |other: &&RunSummaryStage| {
            provenance_checks::parts(&other.name).0 == name
                && other.notes.get(WARNING).is_some_and(|text| text == value)
        };
        let same: Vec<&RunSummaryStage> =
            if key == WARNING { ran.stages.iter().filter(warns).collect() } else { Vec::new() };
        match &same[..] {
            [first, ..] if first.name != stage.name => None,
            [_, _, ..] => {
                let cells: Vec<String> =
                    same.iter().map(|cell| provenance_checks::parts(&cell.name).1.to_owned()).collect();
                Some((key.clone(), format!("{value} (holds for {})", format::list(&cells))))
            }
            _ => Some((key.clone(), value.clone())),
        }
    };
    stage.notes.iter().filter_map(told).collect()
}

/// The run that made the result, and where, unless it was this one.
pub(in crate::report) fn made_elsewhere(ran: &RunSummary, stage: &RunSummaryStage) -> Option<String> {
    let (run, host) = stage.made_by.as_ref().filter(|(run, _)| *run != ran.id)?;
    Some(if *host == ran.host { run.clone() } else { format!("{run} on {host}") })
}

/// The seed that a stage was given, wherever its settings hold one.
pub(in crate::report) fn seed(config: &serde_json::Value) -> Option<u64> {
    let fields = config.as_object()?;
    let own = fields.get("seed").and_then(serde_json::Value::as_u64);
    own.or_else(|| fields.values().find_map(seed))
}

/// Every asset once, in the order of the experiment.
pub(in crate::report) fn assets(ran: &RunSummary) -> Vec<&RunSummaryAsset> {
    let mut found: Vec<&RunSummaryAsset> = Vec::new();
    for asset in ran.stages.iter().flat_map(|stage| &stage.assets) {
        if !found.contains(&asset) {
            found.push(asset);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{section, seed};
    use crate::report::fixture::{ran, stage};

    #[test]
    fn the_section_tells_the_facts_and_escapes_them() {
        let mut ran = ran();
        ran.command = "apprentice run '<script>'".to_owned();
        ran.config = "name: <b>&\n".to_owned();
        let mut made = stage("policy@seed=3", "rl.a2c", &[], &["p"]);
        made.config = json!({ "network": { "seed": 3 }, "gamma": 0.9 });
        made.made_in_seconds = Some(65.0);
        made.made_by = Some(("20240101T000000Z-1".to_owned(), ran.host.clone()));
        ran.stages = vec![made];
        let text = section(&ran, None).unwrap();
        for part in [
            "20250131T120000Z-4242",
            "&lt;script&gt;",
            "name: &lt;b&gt;&amp;",
            "2025-01-31 12:00:00 UTC",
            "1 min 05 s",
            "20240101T000000Z-1",
            "rl.a2c",
            "&quot;gamma&quot;: 0.9",
            "ml-100k",
            "linux x86_64, 2 cores",
        ] {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
        assert!(!text.contains("<script") && !text.contains("<b>&"));
    }

    #[test]
    fn a_warning_stands_once_a_stage_with_the_seeds_that_it_holds_for() {
        let mut ran = ran();
        let warned = |name: &str, text: &str| {
            let mut stage = stage(name, "irl.gail", &[], &[]);
            stage.notes.insert("warning".to_owned(), text.to_owned());
            stage.notes.insert("rounds".to_owned(), "4".to_owned());
            stage
        };
        ran.stages = vec![
            warned("reward@seed=0", "it survives"),
            warned("reward@seed=1", "it survives"),
            warned("reward@seed=2", "it leaves"),
            warned("other", "it survives"),
        ];
        let text = section(&ran, None).unwrap();
        assert_eq!(text.matches("<dd>it survives").count(), 2, "{text}");
        assert!(text.contains("<dd>it survives (holds for seed=0 and seed=1)</dd>"), "{text}");
        assert!(text.contains("<dd>it survives</dd>") && text.contains("<dd>it leaves</dd>"), "{text}");
        assert_eq!(text.matches("<dt>rounds</dt>").count(), 4);
    }

    #[test]
    fn seeds_are_found_where_they_are() {
        assert_eq!(seed(&json!({ "network": { "seed": 3 } })), Some(3));
        assert_eq!(seed(&json!({ "network": { "seed": 3 }, "seed": 4 })), Some(4));
        assert_eq!(seed(&json!({ "gamma": 1 })), None);
    }
}
