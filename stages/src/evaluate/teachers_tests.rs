//! Several language models in one table.

use pipeline::Named;

use super::tests::{get, inputs, near, quick, run, trajectory};
use super::*;
use crate::artifact::{Demonstrations, EpisodeUsage, LlmUsage, Termination};

/// Beside the teacher of the other tests, which was cut after two turns with the users 3 and 0, one that played all four with
/// the users 0 and 5.
fn two() -> Inputs {
    let mut inputs = inputs();
    inputs.teacher[0].name = "small".into();
    let trajectories =
        vec![trajectory(0, &[0, 2, 4, 0], Termination::Horizon), trajectory(5, &[4, 5], Termination::Similar)];
    inputs.teacher.push(react(Demonstrations::new(trajectories)));
    let episode =
        |user, calls, prompt_tokens, completion_tokens| EpisodeUsage { user, calls, prompt_tokens, completion_tokens };
    let usage = LlmUsage(vec![episode(5, 3, Some(50), None), episode(0, 7, Some(100), Some(8))]);
    inputs.llm_usage.push(react(usage));
    inputs
}

fn react<A>(value: A) -> Named<A> {
    Named { name: "expert".into(), cell: "expert=react".into(), value }
}

const SMALL: &str = "teacher small";
const REACT: &str = "teacher expert=react";

#[test]
fn each_has_a_row_and_is_compared_over_what_it_was_given() {
    let out = run(&quick(), two()).unwrap();
    let mean = |row, metric| get(&out.metrics, row, metric).mean;
    assert!(near(mean(SMALL, "return_inclusive"), 8.5) && near(mean(REACT, "return_inclusive"), 11.5));
    assert!(get(&out.metrics, SMALL, "length").remark.contains("truncated after 2 of 4 steps"));
    assert!(!get(&out.metrics, REACT, "length").remark.contains("truncated after"));
    // Both played two turns with user 0: 4 + 4 and 5 + 4, as the retriever; popular 3 + 4.
    for (row, expected) in
        [(SMALL, 8.0), (REACT, 9.0), (table_rows::RETRIEVER_TOP_1, 9.0), (table_rows::POPULAR_QUIT_AWARE, 7.0)]
    {
        assert!(near(mean(row, "return_teacher_users"), expected), "{row}");
        assert_eq!(get(&out.metrics, row, "return_teacher_users").episodes, 1);
    }
    // The retriever's two turns with 3 and 0 are 10 and 9; its four with 0 are 17, and 5 leaves it after 10.
    assert!(near(mean(SMALL, "lead_over_retriever"), ((9.0 - 10.0) + (8.0 - 9.0)) / 2.0));
    assert!(near(mean(REACT, "lead_over_retriever"), ((17.0 - 17.0) + (6.0 - 10.0)) / 2.0));
    assert_eq!(get(&out.metrics, REACT, "lead_over_retriever").episodes, 2);
    // Policies are measured against the better one, on its users.
    let own =
        out.rollouts.0.iter().filter(|r| r.policy == "bc" && [0, 5].contains(&r.user)).map(|r| r.return_inclusive);
    assert!(near(mean("bc", "lead_over_teacher"), own.sum::<f64>() / 2.0 - 11.5));
    let versus = |a: &str, b: &str| {
        let found = out.comparisons.0.iter().find(|c| c.policy == a && c.other == b).unwrap();
        (found.difference, found.users, found.metric.as_str())
    };
    assert_eq!(versus(SMALL, REACT), (-1.0, 1, "return_teacher_users"));
    assert_eq!(versus(REACT, SMALL), (1.0, 1, "return_teacher_users"));
    assert_eq!(versus(REACT, table_rows::RETRIEVER_TOP_1), (-2.0, 2, "return_teacher_users"));
    assert_eq!(versus(SMALL, table_rows::RETRIEVER_TOP_1), (-1.0, 2, "return_teacher_users"));
    assert_eq!(versus("a2c", table_rows::RETRIEVER_TOP_1).1, 6);
}

#[test]
fn what_they_were_asked_stands_beside_where_it_is_known() {
    let metrics = run(&quick(), two()).unwrap().metrics;
    let mean = |metric| get(&metrics, REACT, metric).mean;
    assert!(near(mean("calls"), 5.0) && near(mean("prompt_tokens"), 75.0));
    let known = |row: &str, metric: &str| metrics.rows.iter().any(|m| m.policy == row && m.metric == metric);
    assert!(!known(REACT, "completion_tokens"), "one of its episodes does not say");
    assert!(!known(SMALL, "calls") && !known(table_rows::RETRIEVER_TOP_1, "calls"));
}

#[test]
fn who_shares_nobody_with_the_others_is_judged_alone() {
    let mut apart = two();
    apart.teacher[1].value.trajectories.remove(0);
    let out = run(&quick(), apart).unwrap();
    assert!(out.metrics.rows.iter().all(|metric| metric.metric != "return_teacher_users"));
    assert!(!out.comparisons.0.iter().any(|c| c.policy == SMALL && c.other == REACT));
    assert!(near(get(&out.metrics, REACT, "lead_over_retriever").mean, -4.0));
    // One that played beyond the evaluated users does not keep the others from being compared.
    let few = run(&Evaluate { users: Some(4), ..quick() }, two()).unwrap();
    assert_eq!(get(&few.metrics, table_rows::RETRIEVER_TOP_1, "return_teacher_users").episodes, 2);
    assert!(near(get(&few.metrics, SMALL, "return_teacher_users").mean, 8.5));
    assert!(few.metrics.rows.iter().all(|m| m.policy != REACT || m.metric != "lead_over_retriever"));
}

#[test]
fn the_one_at_fault_is_named() {
    let error = |change: fn(&mut Inputs)| {
        let mut inputs = two();
        change(&mut inputs);
        format!("{:#}", run(&quick(), inputs).err().unwrap())
    };
    let elsewhere = error(|inputs| inputs.teacher[1].value.trajectories[0].steps[1].reward = 2.0);
    assert!(
        elsewhere.starts_with(
            "teacher `expert` of expert=react: played in another world than the evaluation world: step 1 of episode 0 has reward 2, this world gives 4\nhelp: "
        ),
        "{elsewhere}"
    );
    let empty = error(|inputs| inputs.teacher[0].value.trajectories.clear());
    assert!(empty.starts_with("teacher `small`: played no episode"), "{empty}");
    let lost = error(|inputs| inputs.llm_usage[0].cell = "expert=full".into());
    assert!(lost.starts_with("the LLM usage of `expert` of expert=full belongs to no teacher\nhelp: "), "{lost}");
    let other = error(|inputs| inputs.llm_usage[0].value.0.truncate(1));
    assert!(
        other.starts_with(
            "teacher `expert` of expert=react: its LLM usage has no entry for the episode of user 0\nhelp: "
        )
    );
}
