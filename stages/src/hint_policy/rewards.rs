//! The NDCG of every prompt in every session, from a table of prompts.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::artifact::{PromptResult, PromptTable};

/// The order of histories whose rows count: rows of a shuffled history are a control of the strategies.
const ORDER: &str = "chronological";

/// A session in which the model answered to every prompt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    pub session: u32,
    pub user: u32,
    /// Items, oldest first.
    pub history: Vec<u32>,
    /// The rank of the item taken next, by prompt.
    pub ranks: Vec<f64>,
    /// NDCG@10 by prompt.
    pub ndcg: Vec<f64>,
}

/// The rows of a session by prompt; `None` of a prompt that was not asked.
type Answers<'t> = Vec<Option<&'t PromptResult>>;

/// Sessions × prompts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rewards {
    /// The prompts, which are the actions, in the order of the table.
    pub prompts: Vec<String>,
    /// The place of the prompt against which the others are measured.
    pub reference: usize,
    /// By number.
    pub sessions: Vec<Session>,
    /// Sessions that were left out, because a prompt of them was not answered or is missing.
    pub incomplete: usize,
}

impl Rewards {
    /// The rewards of the prompts `wanted`, or of all of the table; `reference` is the name of the reference, by default the first
    /// prompt.
    pub fn of(table: &PromptTable, wanted: &[String], reference: Option<&str>) -> Result<Self> {
        let mut prompts = prompts_of(table);
        let known = || format!("the table has {}", list(&prompts));
        for name in wanted.iter().map(String::as_str).chain(reference) {
            ensure!(prompts.iter().any(|prompt| prompt == name), "no prompt `{name}` in the table\nhelp: {}", known());
        }
        if !wanted.is_empty() {
            // In this order, so that another table has the same actions.
            let added = reference.filter(|name| !wanted.iter().any(|other| other == name));
            prompts = added.map(str::to_owned).into_iter().chain(wanted.iter().cloned()).collect();
        }
        ensure!(
            prompts.len() > 1,
            "there is nothing to choose among {} prompts\nhelp: connect a table with a prompt without a hint and one with a hint, or \
             with two strategies",
            prompts.len()
        );
        let place = reference.and_then(|name| prompts.iter().position(|prompt| prompt == name));
        let mut cells: BTreeMap<u32, (u32, &[u32], Answers)> = BTreeMap::new();
        for row in rows(table) {
            let Some(prompt) = prompts.iter().position(|prompt| *prompt == row.prompt) else { continue };
            let (user, _, answers) =
                cells.entry(row.session).or_insert_with(|| (row.user, &row.history, vec![None; prompts.len()]));
            ensure!(*user == row.user, "session {} has two users, {user} and {}", row.session, row.user);
            ensure!(answers[prompt].is_none(), "session {} has two rows of the prompt `{}`", row.session, row.prompt);
            answers[prompt] = Some(row);
        }
        let all = cells.len();
        let complete = |(session, (user, history, answers)): (u32, (u32, &[u32], Answers))| {
            let rank = |answer: &Option<&PromptResult>| answer.as_ref().and_then(|answer| answer.rank());
            let ranks = answers.iter().map(rank).collect::<Option<_>>()?;
            let ndcg = answers.iter().flatten().map(|answer| answer.ndcg()).collect();
            Some(Session { session, user, history: history.to_vec(), ranks, ndcg })
        };
        let sessions: Vec<Session> = cells.into_iter().filter_map(complete).collect();
        let incomplete = all - sessions.len();
        Ok(Self { prompts, reference: place.unwrap_or(0), sessions, incomplete })
    }

    /// Number of prompts.
    pub fn actions(&self) -> usize {
        self.prompts.len()
    }

    /// R(s, a) = NDCG@10(a) − NDCG@10(reference) of all actions in a session.
    pub fn gains(&self, session: usize) -> Vec<f64> {
        let ndcg = &self.sessions[session].ndcg;
        ndcg.iter().map(|value| value - ndcg[self.reference]).collect()
    }

    /// The user of each session.
    pub fn users(&self) -> Vec<u32> {
        self.sessions.iter().map(|session| session.user).collect()
    }
}

/// The rows that count.
fn rows(table: &PromptTable) -> impl Iterator<Item = &PromptResult> {
    table.0.iter().filter(|row| row.order == ORDER)
}

/// The names of the prompts, in the order of the table.
pub(super) fn prompts_of(table: &PromptTable) -> Vec<String> {
    let mut prompts: Vec<String> = Vec::new();
    for row in rows(table) {
        if !prompts.contains(&row.prompt) {
            prompts.push(row.prompt.clone());
        }
    }
    prompts
}

fn list(prompts: &[String]) -> String {
    prompts.iter().map(|prompt| format!("`{prompt}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: u32, prompt: &str, order: &str, scores: &[f32]) -> PromptResult {
        PromptResult {
            session,
            user: 10 + session,
            target: 3,
            history: vec![9, 8],
            prompt: prompt.into(),
            order: order.into(),
            candidates: vec![3, 5],
            scores: scores.to_vec(),
            tokens: None,
            calls: 1,
        }
    }

    #[test]
    fn rows_become_sessions_and_an_unanswered_prompt_leaves_its_session_out() {
        let (first, second) = ([2.0, 1.0], [1.0, 2.0]);
        let table = PromptTable(vec![
            row(4, "recent + h01", "chronological", &first),
            row(4, "recent", "chronological", &second),
            row(4, "recent", "shuffled", &first),
            row(2, "recent + h01", "chronological", &second),
            row(2, "recent", "chronological", &second),
            row(3, "recent + h01", "chronological", &first),
            row(3, "recent", "chronological", &[]),
        ]);
        let rewards = Rewards::of(&table, &[], Some("recent")).unwrap();
        assert_eq!((rewards.prompts.as_slice(), rewards.reference), (&["recent + h01".into(), "recent".into()][..], 1));
        assert_eq!((rewards.incomplete, rewards.users()), (1, vec![12, 14]));
        let second_place = 1.0 / 3.0_f64.log2();
        assert_eq!(rewards.gains(0), [0.0, 0.0]);
        assert_eq!(rewards.gains(1), [1.0 - second_place, 0.0]);
        assert_eq!(rewards.sessions[1].history, [9, 8]);
        assert_eq!(Rewards::of(&table, &[], None).unwrap().reference, 0);
        // The actions are in the order that is asked for, whatever that of the table.
        let named = Rewards::of(&table, &["recent".into(), "recent + h01".into()], Some("recent + h01")).unwrap();
        assert_eq!((named.prompts.as_slice(), named.reference), (&["recent".into(), "recent + h01".into()][..], 1));
        let added = Rewards::of(&table, &["recent + h01".into()], Some("recent")).unwrap();
        assert_eq!((added.prompts.as_slice(), added.reference), (&["recent".into(), "recent + h01".into()][..], 0));
        let error = |wanted: &[String], reference| Rewards::of(&table, wanted, reference).unwrap_err().to_string();
        assert_eq!(
            error(&[], Some("resent")),
            "no prompt `resent` in the table\nhelp: the table has `recent + h01`, `recent`"
        );
        assert!(error(&["recent".into()], None).starts_with("there is nothing to choose among 1 prompts\nhelp: "));
        let twice = PromptTable([table.0.clone(), vec![row(2, "recent", "chronological", &first)]].concat());
        let error = Rewards::of(&twice, &[], None).unwrap_err().to_string();
        assert_eq!(error, "session 2 has two rows of the prompt `recent`");
    }
}
