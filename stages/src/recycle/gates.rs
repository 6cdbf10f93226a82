//! What a revision must show before it is accepted.

use anyhow::Result;

use super::played::Played;
use crate::artifact::World;

/// The gains of a revision over the gate worlds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gain {
    pub mean: f64,
    /// With n − 1 below the sum of squares; 0 of one world.
    pub sd: f64,
}

/// The gain of `after` over `before` in each of these worlds; `None` without worlds.
pub(super) fn gain(worlds: &[&World], user: u32, before: &[u32], after: &[u32]) -> Result<Option<Gain>> {
    let of = |world: &&World| -> Result<f64> {
        Ok(Played::of(world, user, after)?.total() - Played::of(world, user, before)?.total())
    };
    let gains = worlds.iter().map(of).collect::<Result<Vec<f64>>>()?;
    if gains.is_empty() {
        return Ok(None);
    }
    let count = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / count;
    let squares: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
    Ok(Some(Gain { mean, sd: (squares / (count - 1.0).max(1.0)).sqrt() }))
}

impl Gain {
    /// Why a gate by worlds refuses it: the mean less `deviations` standard deviations is not above 0.
    pub fn refusal(self, deviations: f64) -> Option<String> {
        let bound = self.mean - deviations * self.sd;
        (bound <= 0.0).then(|| format!("the gate worlds' lower bound of the gain is {bound:.3}"))
    }
}

/// Why a gate by instruction-following difficulty refuses it. `[old, new]` each: the item must be harder to guess from the prompt, the prompt
/// easier from the item, and both must be easier than alone.
pub(super) fn ifd_refusal(ifd: [f64; 2], r_ifd: [f64; 2]) -> Option<&'static str> {
    if ifd[1] >= 1.0 || r_ifd[1] >= 1.0 {
        Some("item and prompt do not explain each other")
    } else if ifd[1] <= ifd[0] {
        Some("the item is not harder to guess from the prompt")
    } else if r_ifd[1] >= r_ifd[0] {
        Some("the item explains the prompt no better")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn the_lower_bound_over_worlds_by_hand() {
        // Item 0 → 2 gains −1, +1 and +3: mean 1, sd 2.
        let worlds = [[5.0, 4.0], [4.0, 5.0], [2.0, 5.0]].map(|pay| cluster_world(&pay, 2, 1, 9, 1));
        let all: Vec<&World> = worlds.iter().collect();
        let found = gain(&all, 0, &[0], &[2]).unwrap().unwrap();
        assert_eq!(found, Gain { mean: 1.0, sd: 2.0 });
        assert!(found.refusal(1.0).unwrap().contains("-1.000"));
        assert!(found.refusal(0.4).is_none() && found.refusal(0.5).is_some(), "0 is no gain");
        assert_eq!(gain(&all[..1], 0, &[0], &[2]).unwrap().unwrap(), Gain { mean: -1.0, sd: 0.0 });
        assert_eq!(gain(&[], 0, &[0], &[2]).unwrap(), None);
    }

    #[test]
    fn difficulty_must_rise_and_its_reverse_fall() {
        assert_eq!(ifd_refusal([0.5, 0.7], [0.9, 0.8]), None);
        for (ifd, r_ifd) in
            [([0.5, 0.5], [0.9, 0.8]), ([0.5, 0.7], [0.8, 0.8]), ([0.5, 1.0], [0.9, 0.8]), ([0.5, 0.7], [1.2, 1.0])]
        {
            assert!(ifd_refusal(ifd, r_ifd).is_some(), "{ifd:?} {r_ifd:?}");
        }
    }
}
