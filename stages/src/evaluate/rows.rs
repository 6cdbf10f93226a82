//! Who plays, in the order of the table.

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::progress::Bar;
use pipeline::{Context, Many, Named};
use rand::RngExt;
use rayon::prelude::*;

use super::judged::{Cell, Row};
use super::{Act, Evaluate};
use crate::artifact::{Interactions, Policy, Rankings, World};
use crate::env::{Agent, Episodes, GreedyOracle, Popular, Popularity, Random, Ranked, Student, play};
use crate::nn::rng;

pub(super) const RANDOM: &str = "random";
pub(super) const FREE: &str = "random non-conflicting";
pub(super) const POPULAR: &str = "popular non-conflicting";
pub(super) const ORACLE: &str = "greedy oracle";
pub(super) const RETRIEVER: &str = "retriever alone";
pub(super) const TEACHER: &str = "teacher (LLM)";

const KNOWS_DISTANCES: &str = "privileged: knows the judging distances";
const KNOWS_ALL: &str = "privileged: knows the judging rewards and distances; myopic, so not a proven upper bound";

/// The policies of one name: the training seeds of one row.
type Group<'a> = (&'a str, Vec<&'a Named<Policy>>);

/// Everything that is played with, and how.
pub(super) struct Players<'a> {
    pub config: &'a Evaluate,
    pub world: &'a World,
    /// Who is played with.
    pub users: &'a [u32],
    pub train: &'a Interactions,
    pub rankings: Option<&'a Rankings>,
    /// What the language model played.
    pub teacher: Option<&'a Episodes<'a>>,
    /// Turns that the teacher was given.
    pub opening: usize,
    pub policies: &'a Many<Policy>,
}

impl Players<'_> {
    /// Plays all rows.
    pub fn play(&self, cx: &Context) -> Result<Vec<Row>> {
        let policies = self.grouped()?;
        let draws = self.config.repetitions;
        let cells = 2 * draws + 2 + usize::from(self.rankings.is_some()) + self.policies.len();
        let bar = cx.bar("play", Some((cells * self.users.len()) as u64), "episodes");
        let order = Popularity::of(self.train, self.world.items(), self.config.popularity_prior)?.order();
        let rankings = self.rankings.map(|rankings| self.checked(rankings)).transpose()?;

        let mut rows = vec![
            self.control(RANDOM, "", &Random { non_conflicting: false }, draws, &bar)?,
            self.control(FREE, KNOWS_DISTANCES, &Random { non_conflicting: true }, draws, &bar)?,
            self.control(POPULAR, KNOWS_DISTANCES, &Popular { order }, 1, &bar)?,
            self.control(ORACLE, KNOWS_ALL, &GreedyOracle, 1, &bar)?,
        ];
        if let Some(rankings) = &rankings {
            let remark = if rankings.rankings.avoid_alike { KNOWS_DISTANCES } else { "" };
            rows.push(self.control(RETRIEVER, remark, rankings, 1, &bar)?);
        }
        if let Some(teacher) = self.teacher {
            rows.push(Row {
                name: TEACHER.to_owned(),
                control: false,
                remark: self.on_teacher(teacher),
                cells: vec![Cell::of("", teacher, self.opening)],
            });
        }
        for (name, cells) in policies {
            cx.go_on()?;
            let cell = |(k, policy): (usize, &&Named<Policy>)| {
                self.student(policy, k, &bar).with_context(|| match policy.cell.as_str() {
                    "" => format!("policy `{name}`"),
                    cell => format!("policy `{name}` of {cell}"),
                })
            };
            let remark = match self.config.act {
                Act::Greedy => String::new(),
                Act::Sample => "draws its actions".to_owned(),
            };
            let cells = cells.par_iter().enumerate().map(cell).collect::<Result<_>>()?;
            rows.push(Row { name: name.to_owned(), control: false, remark, cells });
        }
        Ok(rows)
    }

    /// Policies by name, in order of appearance; the cells of one name are its seeds.
    fn grouped(&self) -> Result<Vec<Group<'_>>> {
        let mut groups: Vec<Group> = Vec::new();
        for policy in self.policies {
            let name = policy.name.as_str();
            let taken = [RANDOM, FREE, POPULAR, ORACLE, RETRIEVER].contains(&name) || name.starts_with("teacher");
            ensure!(!taken, "a policy cannot be called `{name}`: that row is the evaluation's own. help: rename it");
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, cells)) => cells.push(policy),
                None => groups.push((name, vec![policy])),
            }
        }
        Ok(groups)
    }

    fn checked<'r>(&self, rankings: &'r Rankings) -> Result<Ranked<'r>> {
        let (world, horizon) = (self.world, self.world.rules.horizon);
        let (users, items) = (world.users(), world.items());
        ensure!(
            rankings.items.len() == users,
            "the rankings are of {} users, the world of {users}. help: make both from one ingest stage",
            rankings.items.len()
        );
        for (user, ranking) in rankings.items.iter().enumerate() {
            let strange = ranking.iter().find(|item| **item as usize >= items).copied();
            if let Some(item) = strange {
                bail!("user {user}'s ranking names item {item}, the world has {items}");
            }
            ensure!(
                ranking.len() >= horizon,
                "user {user}'s ranking holds {} items for episodes of {horizon} turns. help: set `depth` of the retrieve stage \
                 to {horizon} or more, or `horizon` of the world to at most the size of the catalogue ({items})",
                ranking.len()
            );
        }
        Ok(Ranked { rankings })
    }

    fn on_teacher(&self, teacher: &Episodes) -> String {
        let (users, horizon) = (teacher.len(), self.world.rules.horizon);
        let mut remark = format!("judged on its own {users} users, because it is slow");
        match self.rankings {
            Some(rankings) if rankings.avoid_alike => {
                remark += "; privileged: its offers leave out what the distances say would end the episode";
            }
            Some(_) => {}
            None => remark += "; connect `rankings` to learn whether its offers knew the distances",
        }
        if self.opening < horizon {
            remark += &format!("; cut after {} turns of {horizon}, so its return stands beside no other", self.opening);
        }
        remark
    }

    fn control(&self, name: &str, remark: &str, agent: &dyn Agent, repetitions: usize, bar: &Bar) -> Result<Row> {
        let cell = |k: usize| {
            let cell = if repetitions > 1 { format!("episode={k}") } else { String::new() };
            self.cell(&cell, agent, k, bar)
        };
        let cells = (0..repetitions).into_par_iter().map(cell).collect::<Result<_>>();
        let cells = cells.with_context(|| format!("row `{name}`"))?;
        Ok(Row { name: name.to_owned(), control: true, remark: remark.to_owned(), cells })
    }

    fn student(&self, policy: &Named<Policy>, k: usize, bar: &Bar) -> Result<Cell> {
        let network = Student::load(&policy.value, self.world.users(), self.world.items())?;
        let agent = Student { network: &network, sample: self.config.act == Act::Sample };
        self.cell(&policy.cell, &agent, k, bar)
    }

    fn cell(&self, name: &str, agent: &dyn Agent, k: usize, bar: &Bar) -> Result<Cell> {
        let seed = rng(&[self.config.episodes_seed, 0xe7a1, k as u64]).random();
        let episodes = play(self.world, self.users, agent, seed)?;
        bar.inc(self.users.len() as u64);
        Ok(Cell::of(name, &episodes, self.opening))
    }
}
