//! The language models of a table: names of their rows, their usage, and the users and steps on which other rows are compared with
//! them.
//!
//! A model is slow, so it plays with few users and perhaps fewer turns. A row is compared with it over its
//! users and turns, and two models over those of both.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use pipeline::Named;

use super::bootstrap::ScoreMatrix;
use super::eval_users;
use super::results::Row;
use super::teacher_replay::{TeacherCoverage, TurnLimits, replay, turns};
use crate::artifact::{Demonstrations, EpisodeUsage, LlmUsage, Origin, World};
use crate::env::Episodes;

/// The row of a teacher that is the only one, and of one that is missing.
pub(super) const TEACHER: &str = "teacher (LLM)";

/// One language model with the episodes it played.
pub(super) struct Teacher<'w> {
    /// The name of its row.
    pub row: String,
    pub episodes: Episodes<'w>,
    /// Its usage, one entry per episode; `None` where that is not connected.
    pub usage: Option<Vec<EpisodeUsage>>,
    pub teacher_coverage: TeacherCoverage,
    /// The worlds in which it searched.
    pub searched_in: Vec<Origin>,
}

/// The teachers among the inputs, their episodes replayed in `world`. `users` are evaluated; `listed` are those of the log at
/// `eval_users`.
pub(super) fn teachers<'w>(
    world: &'w World,
    demonstrations: &[Named<Demonstrations>],
    usage: &[Named<LlmUsage>],
    users: &[u32],
    listed: Option<&[u32]>,
) -> Result<Vec<Teacher<'w>>> {
    if let Some(lost) = usage.iter().find(|other| !demonstrations.iter().any(|teacher| same_source(teacher, other))) {
        bail!(
            "the LLM usage of {} belongs to no teacher\nhelp: connect the same stages by the same names to `teacher` and `llm_usage`",
            quoted(lost)
        );
    }
    let teacher = |(row, named): (String, &Named<Demonstrations>)| {
        let replayed = || -> Result<(Episodes<'w>, Option<Vec<EpisodeUsage>>)> {
            let episodes = replay(world, &eval_users::of_evaluated_users(&named.value, listed)?)?;
            let known = usage.iter().find(|other| same_source(named, other));
            let usage = known.map(|known| of_episodes(&known.value, &episodes)).transpose()?;
            Ok((episodes, usage))
        };
        let (episodes, usage) = replayed().with_context(|| format!("teacher {}", quoted(named)))?;
        let own: Vec<u32> = (0..episodes.len()).map(|e| episodes.user(e)).collect();
        let evaluated = own.iter().all(|user| users.binary_search(user).is_ok());
        let teacher_coverage = TeacherCoverage { users: own, turns: turns(&episodes), evaluated };
        let searched_in = named.value.searched_in.clone();
        Ok(Teacher { row, episodes, usage, teacher_coverage, searched_in })
    };
    names(demonstrations)?.into_iter().zip(demonstrations).map(teacher).collect()
}

/// Whether both come from one stage and cell, by the names given in the experiment.
fn same_source<A, B>(one: &Named<A>, other: &Named<B>) -> bool {
    (&one.name, &one.cell) == (&other.name, &other.cell)
}

/// The name of an input in messages.
fn quoted<A>(named: &Named<A>) -> String {
    match named.cell.as_str() {
        "" => format!("`{}`", named.name),
        cell => format!("`{}` of {cell}", named.name),
    }
}

/// The usage of each episode.
fn of_episodes(usage: &LlmUsage, episodes: &Episodes) -> Result<Vec<EpisodeUsage>> {
    let known: BTreeMap<u32, EpisodeUsage> = usage.0.iter().map(|entry| (entry.user, *entry)).collect();
    let of = |e: usize| {
        let user = episodes.user(e);
        known.get(&user).copied().with_context(|| {
            format!(
                "its LLM usage has no entry for the episode of user {user}\nhelp: connect the `llm_usage` of the stage whose \
                 `demonstrations` are at `teacher`"
            )
        })
    };
    (0..episodes.len()).map(of).collect()
}

/// What the rows are called: one alone by what it is, several by their cells, and by their stages where they have none or cells
/// of two stages are called alike.
fn names(teachers: &[Named<Demonstrations>]) -> Result<Vec<String>> {
    if teachers.len() == 1 {
        return Ok(vec![TEACHER.to_owned()]);
    }
    let name = |teacher: &Named<Demonstrations>| {
        let Named { name, cell, .. } = teacher;
        let alike = teachers.iter().filter(|other| other.cell == *cell).count();
        match (cell.as_str(), alike) {
            ("", _) => format!("teacher {name}"),
            (_, 1) => format!("teacher {cell}"),
            _ => format!("teacher {name} {cell}"),
        }
    };
    let names: Vec<String> = teachers.iter().map(name).collect();
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        bail!(
            "two teachers would share the row `{twice}`\nhelp: give them other names: `teacher: {{ small: …, large: … }}`"
        );
    }
    Ok(names)
}

/// The users and turns that some teachers have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SharedUsers(Vec<(u32, usize)>);

impl SharedUsers {
    /// `None` where one of them played with users who are not evaluated, where they have no user in common, or without teachers.
    pub fn of(teachers: &[&TeacherCoverage]) -> Option<Self> {
        let (first, others) = teachers.split_first()?;
        if teachers.iter().any(|teacher| !teacher.evaluated) {
            return None;
        }
        let others: Vec<(BTreeSet<u32>, &TurnLimits)> =
            others.iter().map(|other| (other.users.iter().copied().collect(), &other.turns)).collect();
        let shared = first.users.iter().filter(|user| others.iter().all(|(users, _)| users.contains(user)));
        let turns = |user: u32| others.iter().fold(first.turns.with(user), |least, (_, t)| least.min(t.with(user)));
        let ground: Vec<(u32, usize)> = shared.map(|&user| (user, turns(user))).collect();
        (!ground.is_empty()).then_some(Self(ground))
    }

    /// How many users.
    pub fn users(&self) -> usize {
        self.0.len()
    }

    /// The return of each cell with each of these users over these turns, for a row that played with all of them.
    pub fn grid(&self, row: &Row) -> ScoreMatrix {
        let place: BTreeMap<u32, usize> = row.seed_results[0].episodes.iter().map(|e| e.user).zip(0..).collect();
        let cell = |cell: &super::results::SeedResult| {
            self.0.iter().map(|(user, turns)| cell.episodes[place[user]].opening(*turns)).collect()
        };
        row.seed_results.iter().map(cell).collect()
    }

    /// The lead of a row over the first cell of another.
    pub fn lead(&self, row: &Row, other: &Row) -> ScoreMatrix {
        let other = &self.grid(other)[0];
        let mut grid = self.grid(row);
        grid.iter_mut().for_each(|row| row.iter_mut().zip(other).for_each(|(own, other)| *own -= other));
        grid
    }
}

/// Of several teachers the one that policies are measured against: the first with the highest mean return.
pub(super) fn best_teacher(rows: &[Row]) -> Option<&Row> {
    let mean = |row: &Row| {
        let episodes = &row.seed_results[0].episodes;
        episodes.iter().map(|episode| episode.inclusive).sum::<f64>() / episodes.len() as f64
    };
    let higher = |best: &'_ Row, row: &'_ Row| mean(row) > mean(best);
    rows.iter()
        .filter(|row| row.teacher_coverage.is_some())
        .reduce(|best, row| if higher(best, row) { row } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, cell: &str, value: Demonstrations) -> Named<Demonstrations> {
        Named { name: name.into(), cell: cell.into(), value }
    }

    fn teacher_coverage(users: &[u32], most: usize, fewer: &[(u32, usize)]) -> TeacherCoverage {
        let turns = TurnLimits { most, fewer: fewer.iter().copied().collect() };
        TeacherCoverage { users: users.to_vec(), turns, evaluated: true }
    }

    #[test]
    fn rows_are_called_by_what_tells_them_apart() {
        let of = |rows: &[(&str, &str)]| {
            let rows: Vec<_> = rows.iter().map(|(name, cell)| named(name, cell, Demonstrations::default())).collect();
            names(&rows)
        };
        assert_eq!(of(&[("expert", "expert=react")]).unwrap(), [TEACHER]);
        let several = [("expert", "expert=react"), ("expert", "expert=full"), ("named", "")];
        assert_eq!(of(&several).unwrap(), ["teacher expert=react", "teacher expert=full", "teacher named"]);
        let alike = [("small", "seed=1"), ("large", "seed=1"), ("large", "seed=2")];
        assert_eq!(of(&alike).unwrap(), ["teacher small seed=1", "teacher large seed=1", "teacher seed=2"]);
        let error = of(&[("a=1", ""), ("b", "a=1")]).unwrap_err().to_string();
        assert!(error.starts_with("two teachers would share the row `teacher a=1`\nhelp: "), "{error}");
        assert!(of(&[]).unwrap().is_empty());
    }

    #[test]
    fn teachers_have_in_common_what_each_was_given() {
        let (one, other) = (teacher_coverage(&[4, 1, 2], 9, &[(2, 3)]), teacher_coverage(&[1, 2, 7, 4], 5, &[(4, 1)]));
        assert_eq!(SharedUsers::of(&[&one]), Some(SharedUsers(vec![(4, 9), (1, 9), (2, 3)])));
        assert_eq!(SharedUsers::of(&[&one, &other]), Some(SharedUsers(vec![(4, 1), (1, 5), (2, 3)])));
        assert_eq!(SharedUsers::of(&[&other, &one]), Some(SharedUsers(vec![(1, 5), (2, 3), (4, 1)])));
        assert_eq!(SharedUsers::of(&[&one, &teacher_coverage(&[3], 9, &[])]), None, "nobody in common");
        assert_eq!(SharedUsers::of(&[&one, &TeacherCoverage { evaluated: false, ..other }]), None);
        assert_eq!(SharedUsers::of(&[]), None);
    }
}
