//! Rows that plan: the optimal plan of the evaluation world, and the optimal plans of fitted worlds evaluated there.
//!
//! The difference between the two is the error of the fitted world alone: it involves no exploration and no network. What a
//! learner loses beyond that is its own error.

use anyhow::{Context as _, Result, ensure};
use pipeline::progress::Bar;
use pipeline::{Context, Named};

use super::bootstrap::ScoreMatrix;
use super::leakage::input_label;
use super::results::{Measures, Row, SeedResult};
use super::table_rows::{Evaluator, PLAN, PLANNING_ORACLE};
use crate::artifact::{Origin, RowRole, World};
use crate::env::{Plan, PlanAgent, plans};

const ALONE: &str =
    "the optimal plan of that world, without learning: the difference to the planning oracle is the error of the world";

impl Evaluator<'_> {
    /// The planning oracle, with an upper bound of the return.
    pub fn best_plan(&self, cx: &Context, bar: &Bar) -> Result<Row> {
        let plans = self.plans(self.world, PLANNING_ORACLE, cx)?;
        let proven = proven(&plans);
        cx.note(PLANNING_ORACLE, format!("{proven}; upper bound of the mean return {:.4}", mean_bound(&plans)));
        let remark = format!(
            "privileged: knows rewards and distances of the evaluation world and plans whole episodes; {proven}"
        );
        let follow = PlanAgent::new(self.world.users(), self.users, &plans);
        let mut row = self.baseline_row(PLANNING_ORACLE, &remark, &follow, 1, bar)?;
        row.extra = vec![("return_bound", vec![plans.iter().map(|plan| plan.bound).collect()])];
        Ok(row)
    }

    /// The plans of the worlds at `planning_worlds`, worlds of one name in one row.
    pub fn planned(&self, cx: &Context, bar: &Bar) -> Result<Vec<Row>> {
        let mut groups: Vec<(&str, Vec<&Named<World>>)> = Vec::new();
        for world in &self.inputs.planning_worlds {
            match groups.iter_mut().find(|(name, _)| *name == world.name) {
                Some((_, seed_results)) => seed_results.push(world),
                None => groups.push((&world.name, vec![world])),
            }
        }
        groups.iter().map(|(name, worlds)| self.of_worlds(name, worlds, cx, bar)).collect()
    }

    fn of_worlds(&self, name: &str, worlds: &[&Named<World>], cx: &Context, bar: &Bar) -> Result<Row> {
        let name = format!("{PLAN}{name}");
        let (mut seed_results, mut all) = (Vec::new(), Vec::new());
        for world in worlds {
            cx.check_cancelled()?;
            let remarks_of = || format!("{} at `planning_worlds`", input_label("world", world));
            let (cell, plans) = self.of_world(&name, world, cx, bar).with_context(remarks_of)?;
            seed_results.push(cell);
            all.extend(plans);
        }
        let origins: Vec<Origin> = worlds.iter().map(|world| Origin::of("plan", &world.value)).collect();
        let (privileged, remarks_of) = self.origins.remarks_of(&origins);
        let remarks: Vec<String> = [ALONE.to_owned(), format!("there {}", proven(&all))]
            .into_iter()
            .chain(remarks_of.into_iter().map(str::to_owned))
            .collect();
        let of = |measure: fn(&[f32], &[f32]) -> f64| -> ScoreMatrix {
            let cell = |world: &&Named<World>| {
                let user = |&user: &u32| measure(&world.value.rewards_of(user), &self.world.rewards_of(user));
                self.users.iter().map(user).collect()
            };
            worlds.iter().map(cell).collect()
        };
        let extra = vec![("world_rmse", of(rmse)), ("world_correlation", of(correlation))];
        Ok(Row {
            name,
            role: RowRole::Plan,
            privileged,
            remark: remarks.join("; "),
            seed_results,
            teacher_coverage: None,
            extra,
        })
    }

    fn of_world(&self, row: &str, world: &Named<World>, cx: &Context, bar: &Bar) -> Result<(SeedResult, Vec<Plan>)> {
        let own = &world.value;
        let (users, items) = (self.world.users(), self.world.items());
        ensure!(
            (own.users(), own.items()) == (users, items),
            "it has {} users and {} items, the evaluation world {users} and {items}\nhelp: make both from one ingest stage",
            own.users(),
            own.items()
        );
        let plans = self.plans(own, row, cx)?;
        // The gap of a plan is to the return in its own world.
        let measures = Measures::new(Some(own), &self.inputs.train, items);
        let follow = PlanAgent::new(users, self.users, &plans);
        Ok((measures.cell(&world.cell, &self.played(&follow, 0, bar)?), plans))
    }

    fn plans(&self, world: &World, row: &str, cx: &Context) -> Result<Vec<Plan>> {
        let bar = cx.bar(row, Some(self.users.len() as u64), "users");
        let check_cancelled = cx.check_cancelled_from_now();
        plans(world, self.users, &|| {
            bar.inc(1);
            check_cancelled()
        })
    }
}

/// For how many of its users a plan is proven optimal.
fn proven(plans: &[Plan]) -> String {
    let exact = plans.iter().filter(|plan| plan.exact()).count();
    match exact == plans.len() {
        true => format!("proven optimal for all {exact} users"),
        false => {
            let gap = mean_bound(plans) - plans.iter().map(|plan| plan.value).sum::<f64>() / plans.len() as f64;
            format!("proven optimal for {exact} of {} users, on average within {gap:.3} of the bound", plans.len())
        }
    }
}

fn mean_bound(plans: &[Plan]) -> f64 {
    plans.iter().map(|plan| plan.bound).sum::<f64>() / plans.len() as f64
}

/// √ of the mean squared difference of one user's rewards.
fn rmse(own: &[f32], evaluation: &[f32]) -> f64 {
    let squares: f64 = own.iter().zip(evaluation).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (squares / own.len() as f64).sqrt()
}

/// Pearson's r over the items of one user; 0 where one of both is the same for all items.
fn correlation(own: &[f32], evaluation: &[f32]) -> f64 {
    let mean = |row: &[f32]| row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
    let (a, b) = (mean(own), mean(evaluation));
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (&x, &y) in own.iter().zip(evaluation) {
        let (x, y) = (f64::from(x) - a, f64::from(y) - b);
        both += x * y;
        first += x * x;
        second += y * y;
    }
    if first * second > 0.0 { both / (first * second).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::evaluate::tests::{elsewhere, get, inputs, near, quick, run, world};
    use crate::evaluate::{Evaluate, Inputs, LeakageCheck, table_rows};

    fn at(name: &str, cell: &str, value: World) -> Named<World> {
        Named { name: name.into(), cell: cell.into(), value }
    }

    #[test]
    fn how_far_two_rows_of_rewards_are_apart_by_hand() {
        assert!((rmse(&[1.0, 2.0], &[4.0, 6.0]) - (25.0_f64 / 2.0).sqrt()).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 1.0, 0.0]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn nobody_exceeds_the_best_plan_and_plans_of_worlds_are_judged() {
        // A world that takes the clusters' order for its reverse: it shows 4, 2, 4 and at last 4.
        let mut reversed = elsewhere();
        reversed.rewards_mut().data.iter_mut().for_each(|reward| *reward = 4.0 - *reward);
        let planned =
            vec![at("half", "seed=0", elsewhere()), at("reversed", "", reversed), at("half", "seed=1", elsewhere())];
        let metrics = run(&quick(), Inputs { planning_worlds: planned, ..inputs() }).unwrap().metrics;
        let mean = |row, metric| get(&metrics, row, metric).mean;
        // Four turns, one remembered: 5 4 5, and 5 once more.
        assert!(
            near(mean(table_rows::PLANNING_ORACLE, "return_inclusive"), 19.0)
                && near(mean(table_rows::PLANNING_ORACLE, "return_bound"), 19.0)
        );
        let best = get(&metrics, table_rows::PLANNING_ORACLE, "return_inclusive");
        assert!(
            best.role == RowRole::Baseline && best.privileged && best.remark.contains("proven optimal for all 6 users"),
            "{best:?}"
        );
        // Half of every reward is as good to plan in, and promises half.
        let half = get(&metrics, "plan of half", "return_inclusive");
        assert!(near(half.mean, 19.0) && half.seeds == 2 && half.role == RowRole::Plan && !half.privileged, "{half:?}");
        assert!(near(mean("plan of half", "return_training_world"), 9.5) && near(mean("plan of half", "gap"), -9.5));
        assert!((mean("plan of half", "world_correlation") - 1.0).abs() < 1e-6);
        assert!(near(mean("plan of reversed", "return_inclusive"), 3.0 + 4.0 + 3.0 + 3.0));
        assert!((mean("plan of reversed", "world_correlation") + 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_plan_of_another_world_is_refused() {
        let error = |planned| {
            format!(
                "{:#}",
                run(&quick(), Inputs { planning_worlds: vec![at("w", "seed=1", planned)], ..inputs() }).err().unwrap()
            )
        };
        let same = error(world());
        assert!(
            same.starts_with(
                "world `w` of seed=1 at `planning_worlds` has the rewards of the evaluation world\nhelp: "
            ),
            "{same}"
        );
        let small = error(cluster_world(&[5.0], 2, 1, 4, 6));
        assert!(small.starts_with("world `w` of seed=1 at `planning_worlds`: it has 6 users and 2 items"), "{small}");
        let allowed = Evaluate { leakage_check: LeakageCheck::Label, ..quick() };
        let metrics =
            run(&allowed, Inputs { planning_worlds: vec![at("w", "", world())], ..inputs() }).unwrap().metrics;
        assert!(get(&metrics, "plan of w", "return_inclusive").privileged);
    }
}
