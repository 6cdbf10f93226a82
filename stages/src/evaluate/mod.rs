//! `evaluate`: every policy in a world that none of them learned from, beside the rows that keep the table honest.
//!
//! Each user plays one episode for each training seed (each repetition of a control that draws). The rows: random, random
//! and popular among the items that do not conflict, the greedy oracle, the retriever alone, the language model itself,
//! then the policies. The controls are always there: a table without them can make anything look good.

mod bootstrap;
mod judged;
mod rows;
mod table;
mod teacher;

use anyhow::{Result, ensure};
use pipeline::{Context, Many, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Interactions, Metrics, Policy, Rankings, Rollouts, World};
use crate::env::USUAL_PRIOR;
use bootstrap::Bootstrap;
use judged::Row;
use rows::Players;

/// `evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Seed of everything that is drawn: the random controls, sampled actions and the bootstrap.
    pub episodes_seed: u64,
    /// How often each control that draws plays with every user, from 1; 5 by default.
    pub repetitions: usize,
    /// How policies act.
    pub act: Act,
    /// What is popular is what is rated best on average, where each item is given so many ratings at the log's mean beside its
    /// own; 0 is the plain mean, under which one lucky rating makes an item popular.
    pub popularity_prior: f64,
    /// Resamples behind each interval, from 100; 2000 by default.
    pub bootstrap: usize,
    /// Plays with the first so many users only; with all when absent.
    pub users: Option<usize>,
}

/// How a policy's distribution becomes an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The most likely item, as when serving.
    #[default]
    Greedy,
    /// An item drawn from the distribution, as when learning.
    Sample,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            episodes_seed: 0,
            repetitions: 5,
            act: Act::Greedy,
            popularity_prior: USUAL_PRIOR,
            bootstrap: 2000,
            users: None,
        }
    }
}

pipeline::ports! {
    /// Who is judged, where.
    pub struct Inputs {
        /// The judging world; another family than the one the policies learned in.
        world: World,
        /// What policies could learn from; tells what is popular.
        train: Interactions,
        /// The retriever, for its own row.
        rankings: Option<Rankings>,
        /// Who is judged; policies of one name are the training seeds of one row.
        policies: Many<Policy>,
        /// The language model's episodes in the judging world, for its own row.
        teacher: Option<Demonstrations>,
    }
}

pipeline::ports! {
    /// What was measured.
    pub struct Outputs {
        /// The table.
        metrics: Metrics,
        /// Every episode behind it.
        rollouts: Rollouts,
    }
}

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    /// 1: first. 2: the remarks say where the retriever and the teacher know the distances.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "judge policies in a world they did not learn from, beside honest controls";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.repetitions == 0 {
            return wrong("repetitions", "a control plays at least once");
        }
        if self.bootstrap < 100 {
            return wrong("bootstrap", "the ends of a 95 % interval need at least 100 resamples");
        }
        if !(self.popularity_prior >= 0.0 && self.popularity_prior.is_finite()) {
            return wrong("popularity_prior", "0 or more ratings");
        }
        if self.users == Some(0) {
            return wrong("users", "at least one user plays; leave it out to play with all");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let users: Vec<u32> = (0..world.users().min(self.users.unwrap_or(usize::MAX)) as u32).collect();
        ensure!(!users.is_empty() && world.items() > 0, "the world has nobody or nothing to play with");
        let teacher = inputs.teacher.as_ref().map(|told| teacher::replay(world, told)).transpose()?;
        let players = Players {
            config: self,
            world,
            users: &users,
            train: &inputs.train,
            rankings: inputs.rankings.as_ref(),
            teacher: teacher.as_ref(),
            opening: teacher.as_ref().map_or(world.rules.horizon, teacher::turns),
            policies: &inputs.policies,
        };
        let rows = players.play(cx)?;
        cx.note("episodes", rows.iter().flat_map(|row| &row.cells).map(|cell| cell.episodes.len()).sum::<usize>());
        cx.go_on()?;
        // Users are 0.., so the place of a user among them is its id.
        let taught = teacher.as_ref().and_then(|teacher| {
            let place = |e: usize| Some(teacher.user(e) as usize).filter(|&user| user < users.len());
            (0..teacher.len()).map(place).collect::<Option<Vec<usize>>>()
        });
        if teacher.is_some() && taught.is_none() {
            cx.note("teacher", "played with users beyond `users`, so no row is compared on the same users");
        }
        let bootstrap = Bootstrap { seed: self.episodes_seed, resamples: self.bootstrap };
        let metrics = table::table(&rows, taught.as_deref(), &bootstrap);
        Ok(Outputs { metrics, rollouts: Rollouts(rows.iter().flat_map(Row::rollouts).collect()) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::artifact::{Choice, End, Metric, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::ActorCritic;
    use crate::nn::actor_critic::Shape;
    use pipeline::{Artifact, Named};

    const USERS: usize = 6;

    /// Clusters {0, 1}, {2, 3}, {4, 5} that pay 5, 4 and 3; the last cluster's item is remembered; four turns.
    fn world() -> World {
        cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, USERS)
    }

    fn policy(world: &World, seed: u64) -> Policy {
        let shape = Shape {
            users: USERS,
            items: 6,
            width: 3,
            window: 2,
            hidden: 4,
            encoder: crate::nn::Encoder::Window,
            prior: 1.0,
            avoid: 0.0,
            alike_share: 0.5,
        };
        let network = ActorCritic::new(shape, &world.user_vectors, &world.item_vectors, seed).unwrap();
        // Trained elsewhere: in a world that pays half as much.
        let mut elsewhere = world.clone();
        elsewhere.reward.data.iter_mut().for_each(|reward| *reward /= 2.0);
        Policy::new(network.export().unwrap(), "rl.a2c", &elsewhere).unwrap()
    }

    fn trajectory(user: u32, items: &[u32], end: End) -> Trajectory {
        let pay = |item: u32| [5.0, 4.0, 3.0][item as usize / 2];
        let choice = |&item: &u32| Choice {
            item,
            reward: pay(item),
            candidates: Vec::new(),
            scores: Vec::new(),
            call: String::new(),
        };
        Trajectory { user, steps: items.iter().map(choice).collect(), end }
    }

    fn inputs() -> Inputs {
        let world = world();
        // Popularity: 4 before 2 before the rest.
        let train =
            Interactions { user: vec![0; 3], item: vec![4, 2, 0], rating: vec![5.0, 4.0, 1.0], timestamp: vec![0; 3] };
        // Even users are offered 0, 2, 4, 1; odd ones 0, 1, …, which drives them away at the second turn.
        let ranking = |user| if user % 2 == 0 { vec![0, 2, 4, 1] } else { vec![0, 1, 2, 3] };
        let rankings = Rankings {
            items: (0..USERS).map(ranking).collect(),
            scores: vec![vec![0.0; 4]; USERS],
            avoid_alike: false,
        };
        let named =
            |name: &str, seed| Named { name: name.into(), cell: format!("seed={seed}"), value: policy(&world, seed) };
        let policies = vec![named("a2c", 0), named("bc", 0), named("a2c", 1)];
        // The teacher was cut after two turns.
        let trajectories = vec![trajectory(3, &[0, 2], End::Horizon), trajectory(0, &[2, 3], End::Similar)];
        Inputs { world, train, rankings: Some(rankings), policies, teacher: Some(Demonstrations { trajectories }) }
    }

    fn run(config: &Evaluate, inputs: Inputs) -> Result<Outputs> {
        config.run(inputs, &Context::detached(Path::new("unused")))
    }

    fn quick() -> Evaluate {
        Evaluate { bootstrap: 200, ..Evaluate::default() }
    }

    fn get<'a>(metrics: &'a Metrics, policy: &str, metric: &str) -> &'a Metric {
        let found = metrics.0.iter().find(|m| m.policy == policy && m.metric == metric);
        found.unwrap_or_else(|| panic!("no {metric} of {policy}"))
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_rows_stand_in_order_with_their_seeds_and_remarks() {
        let metrics = run(&quick(), inputs()).unwrap().metrics;
        let mut names: Vec<&str> = metrics.0.iter().map(|metric| metric.policy.as_str()).collect();
        names.dedup();
        let expected =
            [rows::RANDOM, rows::FREE, rows::POPULAR, rows::ORACLE, rows::RETRIEVER, rows::TEACHER, "a2c", "bc"];
        assert_eq!(names, expected);
        let count = |row| get(&metrics, row, "return_inclusive");
        let seen = |row| (count(row).control, count(row).seeds, count(row).episodes);
        assert_eq!(seen(rows::RANDOM), (true, 5, 30));
        assert_eq!(seen(rows::POPULAR), (true, 1, 6));
        assert_eq!(seen(rows::TEACHER), (false, 1, 2));
        assert_eq!(seen("a2c"), (false, 2, 12));
        assert!(count(rows::POPULAR).remark.starts_with("privileged"));
        assert!(
            count(rows::TEACHER).remark.contains("2 users") && count(rows::TEACHER).remark.contains("2 turns of 4")
        );
        assert_eq!(count("a2c").remark, "");
    }

    #[test]
    fn who_knows_the_distances_is_said() {
        let remark = |change: fn(&mut Inputs), row| {
            let mut inputs = inputs();
            change(&mut inputs);
            get(&run(&quick(), inputs).unwrap().metrics, row, "return_inclusive").remark.clone()
        };
        let avoiding = |inputs: &mut Inputs| inputs.rankings.as_mut().unwrap().avoid_alike = true;
        assert_eq!(remark(|_| {}, rows::RETRIEVER), "");
        assert!(remark(avoiding, rows::RETRIEVER).starts_with("privileged"));
        assert!(!remark(|_| {}, rows::TEACHER).contains("privileged"));
        assert!(remark(avoiding, rows::TEACHER).contains("privileged"));
        assert!(remark(|inputs| inputs.rankings = None, rows::TEACHER).contains("connect `rankings`"));
    }

    #[test]
    fn numbers_are_those_by_hand() {
        let metrics = run(&quick(), inputs()).unwrap().metrics;
        let mean = |row, metric| get(&metrics, row, metric).mean;
        // Oracle 5 4 5 4; popular 3 4 3 4.
        assert!(near(mean(rows::ORACLE, "return_inclusive"), 18.0) && near(mean(rows::ORACLE, "coverage"), 2.0 / 6.0));
        assert!(near(mean(rows::POPULAR, "return_inclusive"), 14.0) && near(mean(rows::POPULAR, "reward_each"), 3.5));
        assert_eq!(get(&metrics, rows::ORACLE, "return_inclusive").low, mean(rows::ORACLE, "return_inclusive"));
        // Retriever: 5 + 4 + 3 + 5 in four turns, or 5 + 5 in two of which the second drives away.
        let retriever = [
            ("return_inclusive", 13.5),
            ("return_exclusive", 11.0),
            ("length", 3.0),
            ("reward_each", 4.5),
            ("distinct", 3.0),
            ("coverage", 4.0 / 6.0),
            ("end_similar", 0.5),
            ("end_horizon", 0.5),
            ("end_low_reward", 0.0),
        ];
        for (metric, expected) in retriever {
            let found = get(&metrics, rows::RETRIEVER, metric);
            assert!(near(found.mean, expected), "{metric}: {found:?}");
            assert!(found.low <= found.mean && found.mean <= found.high, "{found:?}");
        }
        // Its users differ by 17 − 10; coverage has one seed and no interval.
        assert!(get(&metrics, rows::RETRIEVER, "return_inclusive").low < 13.5);
        assert_eq!(get(&metrics, rows::RETRIEVER, "coverage").low, mean(rows::RETRIEVER, "coverage"));
    }

    #[test]
    fn the_teacher_is_compared_on_its_users_and_turns_only() {
        let metrics = run(&quick(), inputs()).unwrap().metrics;
        let mean = |row, metric| get(&metrics, row, metric).mean;
        // User 3: 5 + 4, stays. User 0: 4 + 4, leaves.
        assert!(
            near(mean(rows::TEACHER, "return_inclusive"), 8.5) && near(mean(rows::TEACHER, "return_exclusive"), 6.5)
        );
        assert!(near(mean(rows::TEACHER, "return_teacher_users"), 8.5));
        // The retriever's first two turns: 5 + 5 with user 3, 5 + 4 with user 0.
        assert!(near(mean(rows::RETRIEVER, "return_teacher_users"), 9.5));
        assert!(near(mean(rows::TEACHER, "over_retriever"), -1.0) && near(mean(rows::TEACHER, "over_popular"), 1.5));
        assert_eq!(get(&metrics, rows::RETRIEVER, "return_teacher_users").episodes, 2);
        let (own, teacher) = (mean("a2c", "return_teacher_users"), mean(rows::TEACHER, "return_teacher_users"));
        assert!(near(mean("a2c", "over_teacher"), own - teacher));
        // A teacher who played beyond the judged users is judged alone.
        let few = run(&Evaluate { users: Some(3), ..quick() }, inputs()).unwrap().metrics;
        assert!(few.0.iter().all(|metric| metric.metric != "return_teacher_users" && metric.metric != "over_teacher"));
        assert!(near(get(&few, rows::TEACHER, "return_inclusive").mean, 8.5));
    }

    #[test]
    fn the_table_is_the_mean_of_the_episodes_and_its_parts_agree() {
        let outputs = run(&Evaluate { act: Act::Sample, ..quick() }, inputs()).unwrap();
        for row in [rows::RANDOM, rows::FREE, rows::POPULAR, rows::ORACLE, rows::RETRIEVER, rows::TEACHER, "a2c", "bc"]
        {
            let mean = |metric| get(&outputs.metrics, row, metric).mean;
            assert!(
                near(mean("reward_each") * mean("length"), mean("return_inclusive")),
                "R_each · Len = R_traj of {row}"
            );
            let ends = ["end_similar", "end_low_reward", "end_horizon"].map(mean);
            assert!(near(ends.iter().sum(), 1.0), "{ends:?}");
            let returns: Vec<f64> =
                outputs.rollouts.0.iter().filter(|r| r.policy == row).map(|r| f64::from(r.inclusive)).collect();
            assert!(near(returns.iter().sum::<f64>() / returns.len() as f64, mean("return_inclusive")), "{row}");
        }
        for policy in ["a2c", "bc"] {
            let mean = |row, metric| get(&outputs.metrics, row, metric).mean;
            let lead = mean(policy, "return_inclusive") - mean(rows::POPULAR, "return_inclusive");
            assert!(near(mean(policy, "over_popular"), lead));
            let lead = mean(policy, "return_inclusive") - mean(rows::RETRIEVER, "return_inclusive");
            assert!(near(mean(policy, "over_retriever"), lead));
        }
        let cells: Vec<&str> =
            outputs.rollouts.0.iter().filter(|r| r.policy == "a2c").map(|r| r.cell.as_str()).collect();
        assert_eq!((cells.len(), cells[0], cells[11]), (12, "seed=0", "seed=1"));
    }

    #[test]
    fn equal_bytes_on_one_and_on_two_threads() {
        let bytes = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let outputs = pool.install(|| run(&Evaluate { act: Act::Sample, ..quick() }, inputs()).unwrap());
            let folder = tempfile::tempdir().unwrap();
            let (metrics, rollouts) = (folder.path().join("metrics"), folder.path().join("rollouts"));
            outputs.metrics.write(&metrics).unwrap();
            outputs.rollouts.write(&rollouts).unwrap();
            [metrics, rollouts].map(|path| std::fs::read(path).unwrap())
        };
        assert_eq!(bytes(1), bytes(2));
    }

    #[test]
    fn what_cannot_be_judged_is_named() {
        let error = |change: fn(&mut Inputs)| {
            let mut inputs = inputs();
            change(&mut inputs);
            format!("{:#}", run(&quick(), inputs).err().unwrap())
        };
        let shallow = error(|inputs| inputs.rankings.as_mut().unwrap().items[5].truncate(3));
        assert!(
            shallow.starts_with("user 5's ranking holds 3 items for episodes of 4 turns. help: set `depth`"),
            "{shallow}"
        );
        let others = error(|inputs| inputs.rankings.as_mut().unwrap().items.truncate(2));
        assert!(others.starts_with("the rankings are of 2 users, the world of 6"), "{others}");
        let strange = error(|inputs| inputs.rankings.as_mut().unwrap().items[1][0] = 6);
        assert!(strange.starts_with("user 1's ranking names item 6"), "{strange}");
        let name = error(|inputs| inputs.policies[1].name = "greedy oracle".into());
        assert!(name.starts_with("a policy cannot be called `greedy oracle`"), "{name}");
        let smaller = error(|inputs| inputs.world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 9));
        assert!(smaller.contains("the rankings are of 6 users, the world of 9"), "{smaller}");
        let policy = error(|inputs| {
            inputs.world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 9);
            inputs.rankings = None;
        });
        assert!(policy.starts_with("policy `a2c` of seed=0: the policy knows 6 users"), "{policy}");
    }
}
