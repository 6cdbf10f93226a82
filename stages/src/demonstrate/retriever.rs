//! `demonstrate.retriever`: the retriever's first candidates as demonstrations, without a language model.
//!
//! It is the control of `demonstrate`: the same users for the same `users` and `seed`, the same candidates at every turn, and always
//! the first of them. Recorded episodes have a control, too: an episode of the same user for each of them, of at most as many steps.
//! What a learner gains from the choices of a language model is its lead over the same learner with these demonstrations. In a table
//! they are the row `retriever top-1`. Left out: a draw among the candidates.

use anyhow::{Context as _, Result, ensure};
use pipeline::{Context, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::user_sample::{check_users, sample_users};
use crate::artifact::{Candidates, Demonstrations, Step, Termination, Trajectory, World};
use crate::env::{Episodes, next_candidates};

/// `demonstrate.retriever`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retriever {
    /// Number of users, one episode each; the users of `demonstrate` with the same `users` and `seed`. A larger number includes the
    /// users of a smaller one. Not used where `demonstrations` is connected.
    pub users: usize,
    /// Seed of the sample of users.
    pub seed: u64,
    /// Number of candidates per turn that are recorded beside the first one, which is shown; at least 1, 10 as in `demonstrate`.
    pub n_candidates: usize,
}

impl Default for Retriever {
    fn default() -> Self {
        Self { users: 16, seed: 0, n_candidates: 10 }
    }
}

pipeline::ports! {
    /// The world and the candidates.
    pub struct Inputs {
        /// The world in which the episodes run.
        world: World,
        /// The retriever's candidates.
        candidates: Candidates,
        /// Episodes whose control these are: each has an episode of the same user with at most as many steps.
        demonstrations: Option<Demonstrations>,
    }
}

pipeline::ports! {
    /// The episodes.
    pub struct Outputs {
        /// One trajectory per user, ordered by user, or one per episode of the input in its order; the steps name no call of a
        /// language model.
        demonstrations: Demonstrations,
    }
}

impl Stage for Retriever {
    const KIND: &'static str = "demonstrate.retriever";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "recommend each user the retriever's first candidates: the control of `demonstrate`";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.users == 0 {
            return Err(("users".into(), "at least one user".into()));
        }
        if self.n_candidates == 0 {
            return Err(("n_candidates".into(), "at least 1: the first candidate is shown".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (world, candidates) = (&inputs.world, &inputs.candidates);
        candidates.check_world(world)?;
        let episodes: Vec<(u32, usize)> = match &inputs.demonstrations {
            Some(recorded) => recorded.trajectories.iter().map(|episode| (episode.user, episode.steps.len())).collect(),
            None => {
                check_users(self.users, world)?;
                sample_users(self.users, self.seed, world).into_iter().map(|user| (user, usize::MAX)).collect()
            }
        };
        let play = |&(user, max_steps): &(u32, usize)| {
            cx.check_cancelled()?;
            let place = || format!("the episode of user {user}");
            ensure!((user as usize) < world.users(), "{} is not of the world's {} users", place(), world.users());
            self.episode(world, candidates, user, max_steps).with_context(place)
        };
        let played: Vec<Result<Trajectory>> = episodes.par_iter().map(play).collect();
        let trajectories: Vec<Trajectory> = played.into_iter().collect::<Result<_>>()?;
        let decisions: usize = trajectories.iter().map(|played| played.steps.len()).sum();
        cx.note("decisions", format!("{decisions} in {} episodes", trajectories.len()));
        Ok(Outputs { demonstrations: Demonstrations::new(trajectories) })
    }
}

impl Retriever {
    fn episode(&self, world: &World, lists: &Candidates, user: u32, max_steps: usize) -> Result<Trajectory> {
        let mut episodes = Episodes::new(world, &[user]);
        let mut steps: Vec<Step> = Vec::new();
        while episodes.end(0).is_none() && steps.len() < max_steps {
            let candidates = next_candidates(&episodes, 0, lists, self.n_candidates)?;
            let item = candidates[0];
            episodes.step(&[0], &[item])?;
            let reward = episodes.rewards(0)[steps.len()];
            steps.push(Step { item, reward, candidates, scores: vec![], call: String::new() });
        }
        Ok(Trajectory { user, steps, end: episodes.end(0).unwrap_or(Termination::Horizon) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Mumbling, inputs as of_demonstrate, stage as demonstrate};
    use super::*;
    use crate::env::{RetrieverAgent, play};

    fn run(retriever: &Retriever, world: &World, candidates: &Candidates) -> Result<Demonstrations> {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { world: world.clone(), candidates: candidates.clone(), demonstrations: None };
        Ok(retriever.run(inputs, &Context::detached(folder.path()))?.demonstrations)
    }

    /// Both kinds of lists: with all items, and without those at which users leave.
    fn lists(filter_quit_items: bool) -> Candidates {
        Candidates { filter_quit_items, ..of_demonstrate().candidates }
    }

    #[test]
    fn it_shows_what_a_model_shows_that_always_chooses_its_first_option() {
        for filter_quit_items in [false, true] {
            let inputs = super::super::Inputs { candidates: lists(filter_quit_items), ..of_demonstrate() };
            let folder = tempfile::tempdir().unwrap();
            let first = Mumbling { every: 1, says: "0" };
            let by_model = demonstrate().demonstrate(&first, &inputs, &Context::detached(folder.path())).unwrap();
            let mut expected = by_model.demonstrations;
            expected.trajectories.iter_mut().flat_map(|played| &mut played.steps).for_each(|step| step.call.clear());
            let stage = Retriever { users: 4, seed: 1, n_candidates: 4 };
            let played = run(&stage, &inputs.world, &inputs.candidates).unwrap();
            assert!(played.trajectories.len() == 4 && played.steps().any(|(_, _, step)| step.candidates.len() == 4));
            assert_eq!(played, expected);
        }
    }

    #[test]
    fn it_is_the_row_of_the_evaluation() {
        for filter_quit_items in [false, true] {
            let (world, candidates) = (of_demonstrate().world, lists(filter_quit_items));
            let played = run(&Retriever { users: 5, ..Retriever::default() }, &world, &candidates).unwrap();
            let users: Vec<u32> = played.trajectories.iter().map(|played| played.user).collect();
            let row = play(&world, &users, &RetrieverAgent { candidates: &candidates }, 0).unwrap();
            for (e, trajectory) in played.trajectories.iter().enumerate() {
                let items: Vec<u32> = trajectory.steps.iter().map(|step| step.item).collect();
                assert_eq!((&items[..], Some(trajectory.end)), (row.items(e), row.end(e)));
                assert!(trajectory.steps.iter().map(|step| &step.reward).eq(row.rewards(e)));
            }
        }
    }

    #[test]
    fn recorded_episodes_have_their_own_control() {
        let (world, candidates) = (of_demonstrate().world, lists(true));
        let whole = run(&Retriever { users: 5, ..Retriever::default() }, &world, &candidates).unwrap();
        let cut = |user: usize, steps: usize| Trajectory {
            user: user as u32,
            steps: whole.trajectories[user].steps[..steps].to_vec(),
            end: Termination::Horizon,
        };
        let recorded = |user, steps| {
            let step = Step { item: 0, reward: 1.0, candidates: vec![], scores: vec![], call: "c".into() };
            Trajectory { user, steps: vec![step; steps], end: Termination::Stopped }
        };
        let control = |trajectories| {
            let demonstrations = Some(Demonstrations::new(trajectories));
            let inputs = Inputs { world: world.clone(), candidates: candidates.clone(), demonstrations };
            let folder = tempfile::tempdir().unwrap();
            Retriever::default().run(inputs, &Context::detached(folder.path()))
        };
        let played =
            control(vec![recorded(3, 2), recorded(1, 5), recorded(3, 99)]).unwrap().demonstrations.trajectories;
        assert_eq!(played, [cut(3, 2), cut(1, 5), whole.trajectories[3].clone()]);
        let error = control(vec![recorded(5, 1)]).err().unwrap().to_string();
        assert_eq!(error, "the episode of user 5 is not of the world's 5 users");
    }

    #[test]
    fn a_list_that_runs_out_and_inputs_that_do_not_fit_are_named() {
        let mut inputs = of_demonstrate();
        inputs.world.rules.distance_threshold = None;
        let all = Retriever { users: 5, ..Retriever::default() };
        inputs.candidates.items[3].truncate(2);
        inputs.candidates.scores[3].truncate(2);
        let error = format!("{:#}", run(&all, &inputs.world, &inputs.candidates).unwrap_err());
        assert!(
            error.starts_with(
                "the episode of user 3: user 3 was shown all 2 items of the list and the episode goes on\nhelp: "
            ),
            "{error}"
        );
        let more = Retriever { users: 6, ..all.clone() };
        let error = run(&more, &inputs.world, &inputs.candidates).unwrap_err().to_string();
        assert_eq!(error, "`users` is 6, the world has 5 users\nhelp: lower `users`");
        inputs.candidates.items.truncate(3);
        let error = run(&all, &inputs.world, &inputs.candidates).unwrap_err().to_string();
        assert!(error.starts_with("the candidates have 3 users, the world has 5"), "{error}");
        assert_eq!(Retriever { users: 0, ..all.clone() }.check().unwrap_err().0, "users");
        assert_eq!(Retriever { n_candidates: 0, ..all }.check().unwrap_err().0, "n_candidates");
    }
}
