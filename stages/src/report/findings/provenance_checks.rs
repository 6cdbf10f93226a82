//! Traps that only the record of a run shows: which world evaluated, which one trained, who lent the distances, which reward
//! form was learned, and where results came from. They are computed from settings and digests, never from names of stages.

use pipeline::WARNING;
use pipeline::report::{RunSummary, RunSummaryFile, RunSummaryStage};

use crate::report::table::format;

/// What the reward forms are called in a config, and the trap of each.
const FORMS: [(&str, &str); 2] = [
    (
        "neg_log_one_minus_d",
        "learned a non-negative reward (−log(1 − D)): where users can quit it rewards survival itself, so longer episodes need not reflect preference",
    ),
    (
        "log_d",
        "learned a non-positive reward (log D): where users can quit it rewards early termination, so short episodes may be an artefact of its sign",
    ),
];

/// Sentences of warning about a run; about what `page` was made from, where it is told with one.
pub(in crate::report) fn findings(ran: &RunSummary, page: Option<&RunSummaryFile>) -> Vec<String> {
    let maker = page.and_then(|page| ran.stages.iter().find(|stage| stage.name == page.stage));
    let stages = maker.map_or_else(|| ran.stages.iter().collect(), |maker| behind(ran, maker));
    let evaluated_learners = evaluated_learners(ran, &stages);
    let mut said = Vec::new();
    match &*ran.status {
        "ok" => {}
        "running" => {
            said.push("The run is still in progress: results of its unfinished stages are missing.".to_owned())
        }
        status => {
            said.push(format!("The run ended with status “{status}”: results of its remaining stages are missing."))
        }
    }
    said.extend(evaluation_is_training(&evaluated_learners));
    said.extend(distances(ran, &evaluated_learners));
    said.extend(reward_forms(&stages));
    said.extend(warnings(&stages));
    said.extend(elsewhere(ran, &stages));
    said
}

/// Digests of what stages read at a port.
fn read<'a>(stage: &'a RunSummaryStage, port: &'a str) -> impl Iterator<Item = &'a str> {
    stage.inputs.iter().filter(move |input| input.port == port).map(|input| input.digest.as_str())
}

/// A stage with all that it was made from, by contents, in the order of the run.
fn behind<'a>(ran: &'a RunSummary, stage: &'a RunSummaryStage) -> Vec<&'a RunSummaryStage> {
    let mut found = vec![stage];
    let mut at = 0;
    while let Some(stage) = found.get(at) {
        let made = |maker: &&RunSummaryStage| {
            maker.files.iter().any(|file| stage.inputs.iter().any(|input| input.digest == file.digest))
        };
        let fresh = |maker: &&RunSummaryStage| !found.iter().any(|known| known.name == maker.name);
        let makers: Vec<&RunSummaryStage> = ran.stages.iter().filter(made).filter(fresh).collect();
        found.extend(makers);
        at += 1;
    }
    ran.stages.iter().filter(|stage| found.iter().any(|known| known.name == stage.name)).collect()
}

/// An evaluation and a stage that learned something behind it, with the contents of their worlds.
struct EvaluatedLearner<'a> {
    judge: &'a RunSummaryStage,
    evaluation_world: &'a str,
    learner: &'a RunSummaryStage,
    training: &'a str,
}

fn evaluated_learners<'a>(ran: &'a RunSummary, stages: &[&'a RunSummaryStage]) -> Vec<EvaluatedLearner<'a>> {
    let learns = |stage: &&RunSummaryStage| stage.kind.starts_with("rl.") || stage.kind.starts_with("irl.");
    let mut found = Vec::new();
    for &judge in stages.iter().filter(|stage| stage.kind == "evaluate") {
        for learner in behind(ran, judge).into_iter().filter(learns) {
            for evaluation_world in read(judge, "world") {
                found.extend(read(learner, "world").map(|training| EvaluatedLearner {
                    judge,
                    evaluation_world,
                    learner,
                    training,
                }));
            }
        }
    }
    found
}

/// The stage that made a content.
fn maker<'a>(ran: &'a RunSummary, digest: &str) -> Option<&'a RunSummaryStage> {
    ran.stages.iter().find(|stage| stage.files.iter().any(|file| file.digest == digest))
}

fn evaluation_is_training(evaluated_learners: &[EvaluatedLearner]) -> Option<String> {
    let mut same: Vec<(&str, Vec<String>)> = Vec::new();
    for EvaluatedLearner { judge, learner, .. } in
        evaluated_learners.iter().filter(|pair| pair.evaluation_world == pair.training)
    {
        if same.last().is_none_or(|(name, _)| *name != judge.name) {
            same.push((&judge.name, Vec::new()));
        }
        let name = parts(&learner.name).0.to_owned();
        if let Some((_, learners)) = same.last_mut().filter(|(_, learners)| !learners.contains(&name)) {
            learners.push(name);
        }
    }
    let told = same.iter().map(|(judge, learners)| format!("{} (evaluated by {judge})", format::list(learners)));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "Evaluation world and training world are the same for {}: the returns then measure the fit to the training world, not generalisation to users.",
            format::list(&told)
        )
    })
}

fn distances(ran: &RunSummary, evaluated_learners: &[EvaluatedLearner]) -> Option<String> {
    let lends = |to: &str, from: &str| maker(ran, to).is_some_and(|stage| read(stage, "distances").any(|d| d == from));
    let lender = |world: &str| maker(ran, world).and_then(|stage| read(stage, "distances").next());
    let (mut evaluation_borrows, mut learner_borrows, mut both_borrow) = (false, false, false);
    for &EvaluatedLearner { evaluation_world, training, .. } in
        evaluated_learners.iter().filter(|pair| pair.evaluation_world != pair.training)
    {
        evaluation_borrows |= lends(evaluation_world, training);
        learner_borrows |= lends(training, evaluation_world);
        both_borrow |=
            lender(evaluation_world).is_some_and(|third| lender(training) == Some(third) && !of_catalogue(ran, third));
    }
    if both_borrow {
        return Some(
            "The evaluation world and the training world take their item distances from one third world: training knew when users leave (privileged)."
                .to_owned(),
        );
    }
    match (evaluation_borrows, learner_borrows) {
        (_, true) => Some(
            "The training world takes its item distances from the evaluation world: training knew when users leave (privileged)."
                .to_owned(),
        ),
        (true, false) => Some(
            "The evaluation world takes its item distances from the training world: both share the quit rule, so what a policy learned about it is not tested."
                .to_owned(),
        ),
        (false, false) => None,
    }
}

/// Whether a world has its item distances from the catalogue, which is no secret.
fn of_catalogue(ran: &RunSummary, world: &str) -> bool {
    let by = maker(ran, world).and_then(|stage| stage.config.pointer("/simulator/distance")?.as_str());
    by.is_some_and(|by| by != "columns")
}

fn reward_forms(stages: &[&RunSummaryStage]) -> Vec<String> {
    // A record holds every default, so a stage that learns a reward always says in which form.
    let form = |stage: &RunSummaryStage| {
        let form = stage.config.get("reward")?.as_str()?;
        FORMS.iter().find(|(name, _)| *name == form).map(|(_, trap)| *trap)
    };
    let irl = stages.iter().filter(|stage| stage.kind.starts_with("irl."));
    let formed: Vec<(&str, &str, &str)> = irl
        .filter_map(|stage| {
            let (name, cell) = parts(&stage.name);
            Some((name, form(stage)?, cell))
        })
        .collect();
    // A sweep's seeds as a rule learn one form: it is told once, with the cells that it holds for.
    let mut told: Vec<(&str, &str)> = Vec::new();
    for &(name, trap, _) in &formed {
        if !told.contains(&(name, trap)) {
            told.push((name, trap));
        }
    }
    let sentence = |&(name, trap): &(&str, &str)| {
        let same = formed.iter().filter(|(other, form, cell)| (*other, *form) == (name, trap) && !cell.is_empty());
        let cells: Vec<String> = same.map(|(_, _, cell)| (*cell).to_owned()).collect();
        let cells = if cells.is_empty() { String::new() } else { format!(" ({})", format::list(&cells)) };
        format!("Stage {name}{cells} {trap}.")
    };
    told.iter().map(sentence).collect()
}

/// What stages warned of themselves; what a learned reward is, is told by its form.
fn warnings(stages: &[&RunSummaryStage]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for stage in stages.iter().filter(|stage| !stage.kind.starts_with("irl.")) {
        let lines = stage.notes.get(WARNING).into_iter().flat_map(|warnings| warnings.lines());
        for warning in lines.filter(|line| !line.starts_with("help: ")) {
            let sentence = format!("Stage {}: {warning}.", parts(&stage.name).0);
            if !told.contains(&sentence) {
                told.push(sentence);
            }
        }
    }
    told
}

/// The name of a stage without its cell, and the cell, which is empty where the stage is not swept.
pub(in crate::report) fn parts(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

fn elsewhere(ran: &RunSummary, stages: &[&RunSummaryStage]) -> Option<String> {
    let mut hosts: Vec<String> = Vec::new();
    for (_, host) in stages.iter().filter_map(|stage| stage.made_by.as_ref()) {
        if *host != ran.host && !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    (!hosts.is_empty()).then(|| {
        format!(
            "Some results were computed on other machines ({}): their times are not comparable.",
            format::list(&hosts)
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::findings;
    use crate::report::fixture::{ran, stage};

    #[test]
    fn worlds_and_distances_are_known_by_their_contents() {
        let mut ran = ran();
        ran.stages = vec![
            stage("train", "world.deepfm", &[], &["w1"]),
            stage("judge", "world.mf", &[("distances", "w1")], &["w2"]),
            stage("policy", "rl.a2c", &[("world", "w1")], &["p"]),
            stage("score", "evaluate", &[("world", "w2"), ("policies", "p")], &["m"]),
        ];
        let said = findings(&ran, None);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("The evaluation world takes its item distances from the training world"));
        ran.stages[2].inputs[0].digest = "w2".to_owned();
        assert!(
            findings(&ran, None)[0]
                .starts_with("Evaluation world and training world are the same for policy (evaluated by score)")
        );
        ran.stages[2].inputs[0].digest = "w1".to_owned();
        ran.stages[1].inputs.clear();
        assert_eq!(findings(&ran, None), Vec::<String>::new());
        ran.stages[0].inputs = stage("x", "y", &[("distances", "w2")], &[]).inputs;
        assert!(findings(&ran, None)[0].contains("(privileged)"));
    }

    #[test]
    fn only_what_an_evaluation_judged_is_told_and_of_a_page_only_what_it_was_made_from() {
        let mut ran = ran();
        ran.stages = vec![
            stage("truth", "world.matrix", &[], &["w1"]),
            stage("train", "world.deepfm", &[("distances", "w1")], &["w2"]),
            stage("same@seed=0", "rl.a2c", &[("world", "w1")], &["p0"]),
            stage("same@seed=1", "rl.a2c", &[("world", "w1")], &["p1"]),
            stage("also", "rl.dqn", &[("world", "w1")], &["p2"]),
            stage("other", "rl.ppo", &[("world", "w2")], &["p3"]),
            stage(
                "inner",
                "evaluate",
                &[("world", "w1"), ("policies", "p0"), ("policies", "p1"), ("policies", "p2")],
                &["m"],
            ),
            stage("outer", "evaluate", &[("world", "w1"), ("policies", "p3")], &["n"]),
            stage("page", "report", &[("metrics", "n")], &["page"]),
        ];
        let said = findings(&ran, None);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with(
                "Evaluation world and training world are the same for same and also (evaluated by inner): "
            )
        );
        let of_page = findings(&ran, ran.stages[8].files.first());
        assert_eq!(of_page, said[1..], "that page shows nothing of the other evaluation");
        assert!(of_page[0].starts_with("The training world takes its item distances from the evaluation world"));
    }

    #[test]
    fn what_stages_warn_of_is_told_once() {
        let mut ran = ran();
        ran.stages = [("world@seed=0", "world.mf"), ("world@seed=1", "world.mf"), ("reward", "irl.gail")]
            .map(|(name, kind)| stage(name, kind, &[], &[]))
            .to_vec();
        for stage in &mut ran.stages {
            stage.notes.insert("warning".to_owned(), "what was held out was fitted\nhelp: another".to_owned());
        }
        assert_eq!(findings(&ran, None), ["Stage world: what was held out was fitted."]);
    }

    #[test]
    fn a_third_world_that_lends_to_both_is_told_unless_it_has_its_distances_from_the_catalogue() {
        let mut ran = ran();
        ran.stages = vec![
            stage("truth", "world.matrix", &[], &["w0"]),
            stage("train", "world.deepfm", &[("distances", "w0")], &["w1"]),
            stage("judge", "world.mf", &[("distances", "w0")], &["w2"]),
            stage("policy", "rl.a2c", &[("world", "w1")], &["p"]),
            stage("score", "evaluate", &[("world", "w2"), ("policies", "p")], &["m"]),
        ];
        assert!(
            findings(&ran, None)[0].contains("one third world") && findings(&ran, None)[0].contains("(privileged)")
        );
        ran.stages[0].config = json!({ "simulator": { "distance": "genres" } });
        assert_eq!(findings(&ran, None), Vec::<String>::new());
    }

    #[test]
    fn a_reward_form_is_told_once_a_stage_with_its_seeds() {
        let mut ran = ran();
        let learned = |name: &str, reward: &str| {
            let mut stage = stage(name, "irl.gail", &[], &[]);
            stage.config = json!({ "reward": reward });
            stage
        };
        ran.stages = vec![
            learned("reward@seed=0", "neg_log_one_minus_d"),
            learned("other", "neg_log_one_minus_d"),
            learned("reward@seed=1", "neg_log_one_minus_d"),
            learned("reward@seed=2", "log_d"),
        ];
        let said = findings(&ran, None);
        let begins = ["Stage reward (seed=0 and seed=1) ", "Stage other learned ", "Stage reward (seed=2) "];
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)), "{said:?}");
    }

    #[test]
    fn reward_forms_and_other_machines_are_named() {
        let mut ran = ran();
        let mut reward = stage("reward", "irl.gail", &[], &[]);
        reward.config = json!({ "rounds": 4, "reward": "neg_log_one_minus_d" });
        ran.stages = vec![reward];
        assert!(findings(&ran, None)[0].starts_with("Stage reward learned a non-negative reward"));
        ran.stages[0].config = json!({ "reward": "log_d", "policy": { "reward": "neg_log_one_minus_d" } });
        assert!(findings(&ran, None)[0].starts_with("Stage reward learned a non-positive reward"));
        ran.stages[0].config = json!({ "reward": "log_d_minus_log_one_minus_d" });
        assert!(findings(&ran, None).is_empty());
        ran.stages[0].made_by = Some(("20250101T000000Z-1".to_owned(), "elsewhere".to_owned()));
        assert!(findings(&ran, None)[0].contains("other machines (elsewhere)"));
        ran.status = "partial".to_owned();
        assert!(findings(&ran, None)[0].starts_with("The run ended with status “partial”"));
        ran.status = "running".to_owned();
        assert!(findings(&ran, None)[0].starts_with("The run is still in progress"));
    }
}
