//! From the probabilities of a two-tower softmax to the rewards of a world, stored or as factors.
//!
//! r(u, i) = high + κ·ln p(i|u), clamped to [low, high], with κ = (high − low) / (2·ln I): the certain item has `high`, an item as likely
//! as by chance (1/I) the middle, and one I times less likely `low`. With ln p(i|u) = ⟨p_u, q_i⟩ + b_i − ln Z_u this is a product of
//! (p_u, high − κ·ln Z_u, 1) and (κ·q_i, 1, κ·b_i), so nothing `[U, I]` need be stored.

use anyhow::Result;
use candle_core::{Device, Tensor};
use pipeline::Context;
use pipeline::memory_need::zeros;
use rayon::prelude::*;

use super::towers::{ItemRows, Towers, log_sum_exp};
use crate::artifact::{Array, Factored, Factors};

/// Numbers of a block of scores.
const BLOCK: usize = 1 << 22;

/// The scale of rewards among I items.
pub(super) struct Affinity {
    low: f64,
    high: f64,
    /// κ; 0 where there is one item, which leaves nothing to choose.
    slope: f64,
    sizes: [usize; 2],
}

impl Affinity {
    /// That of rewards from `low` to `high`, of so many users and items.
    pub fn new([low, high]: [f64; 2], sizes: [usize; 2]) -> Self {
        let slope = if sizes[1] < 2 { 0.0 } else { (high - low) / (2.0 * (sizes[1] as f64).ln()) };
        Self { low, high, slope, sizes }
    }

    /// The reward of a log-probability.
    fn of(&self, log_p: f32) -> f32 {
        (self.high + self.slope * f64::from(log_p)).clamp(self.low, self.high) as f32
    }

    /// The rewards of all, `[U, I]`.
    pub fn stored(&self, towers: &Towers, cx: &Context) -> Result<Array> {
        let mut rewards = zeros::<f32>("rewards, users × items", self.sizes[0] * self.sizes[1])?;
        self.fill(&mut rewards, towers, cx, |users, catalogue| {
            let log_p = towers.log_probabilities(users, catalogue)?.flatten_all()?.to_vec1::<f32>()?;
            Ok(log_p.into_iter().map(|log_p| self.of(log_p)).collect())
        })?;
        Ok(Array::new(&self.sizes, rewards))
    }

    /// The same as factors.
    pub fn factored(&self, towers: &Towers, cx: &Context) -> Result<Factored> {
        let mut sums = zeros::<f32>("ln Z, users", self.sizes[0])?;
        self.fill(&mut sums, towers, cx, |users, catalogue| {
            let scores = towers.scores(users, catalogue)?;
            Ok(log_sum_exp(&scores)?.to_vec1()?)
        })?;
        let ItemRows { bias, vectors, .. } = towers.catalogue()?;
        let column = |numbers: Vec<f32>| Tensor::from_vec(numbers, (self.sizes[0], 1), &Device::Cpu);
        let constants = column(sums.iter().map(|sum| (self.high - self.slope * f64::from(*sum)) as f32).collect())?;
        let array = |parts: [Tensor; 3]| -> Result<Array> {
            let parts = parts.map(|part| part.detach().to_device(&Device::Cpu));
            let [one, two, three] = parts;
            let rows = Tensor::cat(&[one?, two?, three?], 1)?;
            Ok(Array::new(rows.dims(), rows.flatten_all()?.to_vec1()?))
        };
        let bias = (bias.unsqueeze(1)? * self.slope)?;
        let factors = Factors::of_product(
            array([towers.all_users()?, constants.clone(), constants.ones_like()?])?,
            array([(vectors * self.slope)?, bias.ones_like()?, bias])?,
        );
        Ok(Factored { members: vec![factors], range: (self.low as f32, self.high as f32), penalty: None })
    }

    /// Fills `table` with what `of` says of all users, equally many numbers each, a block of them at a time on all threads.
    fn fill(
        &self,
        table: &mut [f32],
        towers: &Towers,
        cx: &Context,
        of: impl Fn(&[u32], &ItemRows) -> Result<Vec<f32>> + Sync,
    ) -> Result<()> {
        let [users, items] = self.sizes;
        let check_cancelled = cx.check_cancelled_from_now();
        let bar = cx.bar("complete", Some(users as u64), "users");
        let catalogue = towers.catalogue()?;
        let block = (BLOCK / items.max(1)).clamp(1, 256);
        let width = table.len() / users.max(1);
        let of_block = |(number, part): (usize, &mut [f32])| -> Result<()> {
            check_cancelled()?;
            let first = number * block;
            let block: Vec<u32> = (first..(first + block).min(users)).map(|user| user as u32).collect();
            part.copy_from_slice(&of(&block, &catalogue)?);
            bar.inc(block.len() as u64);
            Ok(())
        };
        // A device takes one question at a time.
        let at_least = if towers.user.device().is_cpu() { 1 } else { users.max(1) };
        table.par_chunks_mut((block * width).max(1)).enumerate().with_min_len(at_least).try_for_each(of_block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Rewards;
    use crate::nn::Params;
    use crate::world::TwoTower;
    use crate::world::side_features::Declarations;

    #[test]
    fn rewards_by_hand() {
        for (p, items, wanted) in
            [(1.0_f64, 100, 5.0), (0.01, 100, 3.0), (0.1, 100, 4.0), (1e-4, 100, 1.0), (1e-9, 100, 1.0), (1.0, 1, 5.0)]
        {
            let found = Affinity::new([1.0, 5.0], [3, items]).of(p.ln() as f32);
            assert!((found - wanted).abs() < 1e-5, "{p} of {items}: {found}");
        }
    }

    /// Whoever interrupts a stage while it completes waits for a block of users, not for all, nor for what comes after.
    #[test]
    fn completing_ends_when_it_is_interrupted() {
        let mut params = Params::default();
        let sizes = [600, 5];
        let towers = Towers::new(&mut params, &TwoTower::default(), sizes, None, &Declarations::default()).unwrap();
        let cx = Context::detached(std::path::Path::new("unused"));
        let affinity = Affinity::new([0.0, 1.0], sizes);
        let mut table = vec![0.0; 600];
        let interrupted = affinity.fill(&mut table, &towers, &cx, |users, _| {
            cx.interrupt();
            Ok(vec![1.0; users.len()])
        });
        assert!(interrupted.unwrap_err().is::<pipeline::Interrupted>());
        assert!(table.contains(&0.0), "three blocks, and not all of them were made");
    }

    #[test]
    fn factors_give_the_rewards_that_are_stored() {
        let sizes = [300, 40];
        let mut params = Params::default();
        let config = TwoTower { embedding: 5, ..TwoTower::default() };
        let towers = Towers::new(&mut params, &config, sizes, None, &Declarations::default()).unwrap();
        // Large enough that some probabilities are below 1/I².
        for (_, var) in params.iter() {
            var.set(&(var.as_tensor() * 20.0).unwrap()).unwrap();
        }
        let cx = Context::detached(std::path::Path::new("unused"));
        let affinity = Affinity::new([-1.0, 2.0], sizes);
        let (stored, factored) = (affinity.stored(&towers, &cx).unwrap(), affinity.factored(&towers, &cx).unwrap());
        let factored = Rewards::from(factored);
        let mut lowest = 0;
        for user in 0..sizes[0] as u32 {
            for (stored, factored) in stored.row(user as usize).iter().zip(factored.row(user).iter()) {
                assert!((stored - factored).abs() < 1e-5, "user {user}: {stored} {factored}");
                lowest += u32::from(*stored == -1.0);
            }
        }
        assert!(lowest > 100, "{lowest} are clamped");
    }
}
