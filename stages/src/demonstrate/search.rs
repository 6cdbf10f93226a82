//! `demonstrate.search`: what a search over imagined turns recommends without a language model.
//!
//! It is the control of `actor: { search: {} }` of `demonstrate`: the same users, candidates and tree, with the rewards of the world at
//! `model` alone. What a language model adds to a search is the lead over these demonstrations, and what imitation of them
//! returns is the gain of the search itself. The demonstrations know what `model` knows.

use anyhow::{Context as _, Result};
use pipeline::{Context, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lookahead::{self, LeafValue, Lookahead, Uniform, best, uniform};
use super::user_sample::{check_users, sample_users};
use crate::artifact::{Candidates, Demonstrations, Step, Trajectory, World};
use crate::env::{Episodes, ImaginedEpisode, next_candidates};

/// `demonstrate.search`. A path of d imagined turns is worth Σ_{t<d} γ^t·r̂_t + γ^d·V(leaf).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Number of users, one episode each; the users of `demonstrate` with the same `users` and `seed`. A larger number includes the
    /// users of a smaller one.
    pub users: usize,
    /// Seed of the sample of users.
    pub seed: u64,
    /// Number of candidates per turn, at least 1; 10 as in `demonstrate`. More cost nothing but time.
    pub n_candidates: usize,
    /// Number of candidates that are followed from each imagined turn, at least 1: those with the highest r̂ + γ·V. 2 by default.
    pub width: usize,
    /// Number of imagined turns, at least 1; fewer where the imagined user leaves. 2 by default.
    pub depth: usize,
    /// Discount γ of imagined turns, above 0, at most 1. 1 by default.
    pub gamma: f64,
    /// The value of an imagined turn at which the search ends.
    pub leaf_value: LeafValue,
}

impl Default for Search {
    fn default() -> Self {
        let (users, seed, n_candidates) = (16, 0, 10);
        Self { users, seed, n_candidates, width: 2, depth: 2, gamma: 1.0, leaf_value: LeafValue::default() }
    }
}

pipeline::ports! {
    /// The worlds and the candidates.
    pub struct Inputs {
        /// The world in which the episodes run.
        world: World,
        /// The world in which turns are imagined. It must not be the world that evaluates the demonstrations.
        model: World,
        /// The retriever's candidates.
        candidates: Candidates,
    }
}

pipeline::ports! {
    /// The episodes.
    pub struct Outputs {
        /// One trajectory per user, ordered by user; the steps name no call of a language model. Their scores are the values of the
        /// best paths that begin with the candidates, −∞ of candidates that were not followed.
        demonstrations: Demonstrations,
    }
}

impl Stage for Search {
    const KIND: &'static str = "demonstrate.search";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "recommend by a search over imagined turns, without a language model";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.users == 0 {
            return Err(("users".into(), "at least one user".into()));
        }
        if self.n_candidates == 0 {
            return Err(("n_candidates".into(), "at least 1".into()));
        }
        lookahead::check(self.width, self.depth, self.n_candidates, self.gamma)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        inputs.candidates.check_world(world)?;
        lookahead::check_model(&inputs.model, world)?;
        check_users(self.users, world)?;
        let users = sample_users(self.users, self.seed, world);
        let bar = cx.bar("episodes", Some(users.len() as u64), "episodes");
        let play = |&user: &u32| {
            cx.check_cancelled()?;
            let played = self.episode(&inputs, user).with_context(|| format!("the episode of user {user}"));
            bar.inc(1);
            played
        };
        let played: Vec<Result<Trajectory>> = users.par_iter().map(play).collect();
        let trajectories: Vec<Trajectory> = played.into_iter().collect::<Result<_>>()?;
        let decisions: usize = trajectories.iter().map(|played| played.steps.len()).sum();
        cx.note("decisions", format!("{decisions} in {} episodes", trajectories.len()));
        Ok(Outputs { demonstrations: Demonstrations::new(trajectories).searched(Self::KIND, &inputs.model) })
    }
}

impl Search {
    fn episode(&self, inputs: &Inputs, user: u32) -> Result<Trajectory> {
        let lookahead = Lookahead {
            candidates: &inputs.candidates,
            n_candidates: self.n_candidates,
            width: self.width,
            depth: self.depth,
            alpha: 0.0,
            gamma: self.gamma,
            leaf_value: self.leaf_value,
        };
        let mut episodes = Episodes::new(&inputs.world, &[user]);
        let mut steps: Vec<Step> = Vec::new();
        loop {
            if let Some(end) = episodes.end(0) {
                return Ok(Trajectory { user, steps, end });
            }
            let candidates = next_candidates(&episodes, 0, &inputs.candidates, self.n_candidates)?;
            let history = ImaginedEpisode::new(&inputs.model, user, episodes.items(0), episodes.rewards(0));
            let values = lookahead.values(&history, &candidates, &uniform(candidates.len()), &mut Uniform)?;
            let item = candidates[best(&values)];
            episodes.step(&[0], &[item])?;
            let reward = episodes.rewards(0)[steps.len()];
            let scores = values.into_iter().map(|value| value as f32).collect();
            steps.push(Step { item, reward, candidates, scores, call: String::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs as of_demonstrate;
    use super::*;
    use crate::artifact::Termination;
    use crate::env::{cluster_world, plans};

    /// Clusters of items, listed one of each cluster after the other.
    fn listed(world: &World, clusters: usize) -> Candidates {
        let size = world.items() / clusters;
        let list: Vec<u32> = (0..world.items()).map(|k| (k % clusters * size + k / clusters) as u32).collect();
        let users = world.users();
        Candidates { scores: vec![vec![0.0; list.len()]; users], items: vec![list; users], filter_quit_items: false }
    }

    fn run(stage: &Search, world: &World, model: &World, candidates: &Candidates) -> Result<Demonstrations> {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { world: world.clone(), model: model.clone(), candidates: candidates.clone() };
        Ok(stage.run(inputs, &Context::detached(folder.path()))?.demonstrations)
    }

    #[test]
    fn at_full_width_and_depth_it_returns_what_the_best_plan_does() {
        // In these worlds a candidate of each cluster is always among the first ones, and few sequences keep their user.
        for (pay, size, value) in [(&[5.0, 4.0, 3.0][..], 11, 122.0), (&[5.0, 3.0], 2, 13.0)] {
            let world = cluster_world(pay, size, 2, 30, 1);
            let plan = plans(&world, &[0], &|| Ok(())).unwrap().remove(0);
            assert!(plan.exact() && plan.value == value, "{plan:?}");
            let clusters = pay.len();
            let full = Search { users: 1, n_candidates: clusters, width: clusters, depth: 30, ..Search::default() };
            let played = run(&full, &world, &world, &listed(&world, clusters)).unwrap();
            assert_eq!(played.trajectories[0].total(), value);
            // What is expected at the first turn is what comes.
            let first = &played.trajectories[0].steps[0];
            assert_eq!(first.scores.iter().copied().fold(f32::MIN, f32::max), value as f32);
        }
        // Two turns and candidates ahead are not enough: 5, 4, and then the two best drive the user away.
        let world = cluster_world(&[5.0, 4.0, 3.0], 11, 2, 30, 1);
        let narrow = Search { users: 1, n_candidates: 3, ..Search::default() };
        assert_eq!(run(&narrow, &world, &world, &listed(&world, 3)).unwrap().trajectories[0].total(), 14.0);
    }

    #[test]
    fn a_greedy_leaf_sees_to_the_end() {
        // After 5 and 4 nothing but 3 keeps the user: 5, 4, 3 in turn, as the plan has it.
        let world = cluster_world(&[5.0, 4.0, 3.0], 11, 2, 30, 1);
        let stage = Search { users: 1, n_candidates: 3, depth: 1, leaf_value: LeafValue::Greedy, ..Search::default() };
        let played = run(&stage, &world, &world, &listed(&world, 3)).unwrap();
        assert_eq!(played.trajectories[0].total(), 122.0);
    }

    #[test]
    fn it_plays_in_the_world_what_it_imagined_in_the_model() {
        let inputs = of_demonstrate();
        let mut model = inputs.world.clone();
        // The model believes that the last cluster is the best, and that nobody leaves.
        model.rewards_mut().data.iter_mut().for_each(|reward| *reward = 6.0 - *reward);
        model.rules.distance_threshold = None;
        let stage = Search { users: 5, n_candidates: 12, depth: 1, ..Search::default() };
        for played in run(&stage, &inputs.world, &model, &inputs.candidates).unwrap().trajectories {
            let rewards: Vec<f32> = played.steps.iter().map(|step| step.reward).collect();
            assert_eq!(
                (rewards, played.end),
                (vec![2.0, 2.0], Termination::Similar),
                "where it plays, the user leaves"
            );
            assert_eq!(played.steps[0].scores.iter().copied().fold(f32::MIN, f32::max), 4.0);
            // Of equal candidates the retriever's first.
            let list = &inputs.candidates.items[played.user as usize];
            assert_eq!(Some(&played.steps[0].item), list.iter().find(|&&item| item >= 9));
        }
    }

    #[test]
    fn inputs_and_settings_that_do_not_fit_are_named() {
        let inputs = of_demonstrate();
        let other = cluster_world(&[1.0], 3, 1, 8, 5);
        let error = run(&Search { users: 2, ..Search::default() }, &inputs.world, &other, &inputs.candidates);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("the world at `model` has 5 users and 3 items, the one at `world` 5 and 12\nhelp: "));
        let refused = |stage: Search| stage.check().unwrap_err().0;
        assert_eq!(refused(Search { users: 0, ..Search::default() }), "users");
        assert_eq!(refused(Search { n_candidates: 0, ..Search::default() }), "n_candidates");
        assert_eq!(refused(Search { gamma: 1.5, ..Search::default() }), "gamma");
    }
}
