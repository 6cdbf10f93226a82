//! From a completed reward matrix to a world: item distances, the threshold of "too similar", and vectors for policies.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Array, Rules, Window, World};
use crate::nn::Init;

/// Who watches, and when they leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audience {
    /// Turns after which an episode is cut; 30 as in EasyRL4Rec.
    pub horizon: usize,
    /// Items a user remembers; 7 as EasyRL4Rec has it for MovieLens-1M and Coat.
    pub window: usize,
    /// Which items the window holds early in an episode: `last`, or `easyrl4rec` with its slice quirk.
    pub window_kind: Window,
    /// When two items feel alike; `closest_share: 0.02` where absent. Only without the input `distances`, which brings its own.
    pub similar: Option<Similar>,
    /// Users leave at a reward below this; off by default.
    pub low_reward: Option<f64>,
    /// Width of the user and item vectors that policies start from: a factorisation of the completed matrix.
    pub vectors: usize,
}

impl Default for Audience {
    fn default() -> Self {
        Self { horizon: 30, window: 7, window_kind: Window::Last, similar: None, low_reward: None, vectors: 16 }
    }
}

/// When two items feel alike, so that a user who remembers one leaves at the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Similar {
    /// This share of all item pairs, the closest ones, in (0, 1); makes worlds of different scales comparable.
    ClosestShare(f64),
    /// Distances strictly below this, in units of the rating (root mean square over the users).
    Below(f64),
    /// Euclidean distances strictly below this, as EasyRL4Rec and DORL state theirs (Coat 6, MovieLens-1M 75): √users times
    /// the root mean square.
    EuclideanBelow(f64),
    /// Never.
    Off,
}

/// A share, because it makes worlds of different scales comparable.
const USUAL: Similar = Similar::ClosestShare(0.02);

impl Audience {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((format!("audience.{path}"), message.to_owned()));
        if self.horizon == 0 {
            return wrong("horizon", "an episode has at least one turn");
        }
        if self.vectors == 0 {
            return wrong("vectors", "policies need vectors of at least one number");
        }
        match self.similar {
            Some(Similar::ClosestShare(share)) if !(share > 0.0 && share < 1.0) => {
                wrong("similar.closest_share", "a share of pairs lies between 0 and 1, both excluded")
            }
            _ => Ok(()),
        }
    }

    /// Completes `reward [U, I]` to a world; item distances and their threshold are those of `shared`, if given.
    pub fn complete(&self, shared: Option<&World>, reward: Array) -> Result<World> {
        ensure!(
            reward.data.iter().all(|x| x.is_finite()),
            "the fitted rewards are not all finite; lower learning_rate"
        );
        let users = reward.shape[0];
        let distance = match shared {
            Some(world) => world.distance.clone(),
            None => column_distances(&reward)?,
        };
        ensure!(distance.shape[0] == reward.shape[1], "the shared distances are of another catalogue");
        let similar_below = match (shared, self.similar) {
            (Some(_), Some(_)) => bail!(
                "`audience.similar` is set, but `distances` brings its own threshold. help: leave out one of the two"
            ),
            (Some(world), None) => world.rules.similar_below,
            (None, similar) => match similar.unwrap_or(USUAL) {
                Similar::ClosestShare(share) => Some(closest(&distance, share)),
                Similar::Below(threshold) => Some(threshold as f32),
                // Rounded like the distances themselves, so that a distance of just the threshold is not below it.
                Similar::EuclideanBelow(threshold) => Some((threshold * threshold / users as f64).sqrt() as f32),
                Similar::Off => None,
            },
        };
        let (user_vectors, item_vectors) = factorise(&reward, self.vectors)?;
        let rules = Rules {
            horizon: self.horizon,
            window: self.window,
            window_kind: self.window_kind,
            similar_below,
            low_reward: self.low_reward.map(|x| x as f32),
        };
        Ok(World { reward, distance, user_vectors, item_vectors, rules })
    }
}

/// Root mean square difference of the items' columns: `reward [U, I]` → `[I, I]`, in units of the rating. (EasyRL4Rec takes
/// the Euclidean distance, which is √U times as much; a mean does not grow with the log.)
fn column_distances(reward: &Array) -> Result<Array> {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    let matrix = Tensor::from_slice(&reward.data, (users, items), &Device::Cpu)?.to_dtype(DType::F64)?;
    let gram: Vec<f64> = matrix.t()?.matmul(&matrix)?.flatten_all()?.to_vec1()?;
    let mut data = vec![0.0_f32; items * items];
    for i in 0..items {
        for j in 0..i {
            let square = gram[i * items + i] + gram[j * items + j] - 2.0 * gram[i * items + j];
            let distance = (square.max(0.0) / users as f64).sqrt() as f32;
            data[i * items + j] = distance;
            data[j * items + i] = distance;
        }
    }
    Ok(Array::new(&[items, items], data))
}

/// The distance below which `share` of all pairs of different items lie.
fn closest(distance: &Array, share: f64) -> f32 {
    let items = distance.shape[0];
    let mut pairs: Vec<f32> = (0..items).flat_map(|i| distance.row(i)[..i].iter().copied()).collect();
    if pairs.is_empty() {
        return 0.0;
    }
    let rank = ((pairs.len() as f64 * share) as usize).min(pairs.len() - 1);
    *pairs.select_nth_unstable_by(rank, f32::total_cmp).1
}

/// `reward [U, I]` less its mean ≈ `user [U, D] · item [I, D]ᵀ`, the best such product, by orthogonal (subspace) iteration.
/// Both factors are scaled to the same root mean square.
fn factorise(reward: &Array, width: usize) -> Result<(Array, Array)> {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    ensure!(width <= users.min(items), "audience.vectors is {width}, but there are {users} users and {items} items");
    let mean = reward.data.iter().map(|&x| f64::from(x)).sum::<f64>() / reward.data.len() as f64;
    let matrix = (Tensor::from_slice(&reward.data, (users, items), &Device::Cpu)?.to_dtype(DType::F64)? - mean)?;
    let transposed = matrix.t()?.contiguous()?;
    let mut basis = Init::new(0).normal(&[items, width], 1.0)?.to_dtype(DType::F64)?;
    for _ in 0..30 {
        basis = orthonormal(&transposed.matmul(&matrix.matmul(&basis)?)?)?;
    }
    let scores = matrix.matmul(&basis)?;
    let mean_square = |t: &Tensor| t.sqr()?.mean_all()?.to_scalar::<f64>();
    let balance = (mean_square(&scores)? / mean_square(&basis)?.max(1e-30)).sqrt().sqrt().max(1e-12);
    let export = |t: Tensor, rows| -> Result<Array> {
        Ok(Array::new(&[rows, width], t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
    };
    Ok((export((scores / balance)?, users)?, export((basis * balance)?, items)?))
}

/// Gram and Schmidt, twice for accuracy: `[R, C]` → orthonormal columns. A dependent column becomes zero.
fn orthonormal(matrix: &Tensor) -> Result<Tensor> {
    let mut columns: Vec<Vec<f64>> = matrix.t()?.to_vec2()?;
    for c in 0..columns.len() {
        let (done, rest) = columns.split_at_mut(c);
        let column = &mut rest[0];
        for _ in 0..2 {
            for other in done.iter() {
                let dot: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = column.iter().map(|a| a * a).sum::<f64>().sqrt();
        let scale = if norm > 1e-12 { 1.0 / norm } else { 0.0 };
        column.iter_mut().for_each(|a| *a *= scale);
    }
    Ok(Tensor::new(columns, &Device::Cpu)?.t()?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_threshold_and_vectors_of_a_small_matrix() {
        // Items 0 and 1 are alike; item 2 is the opposite.
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let audience = Audience { vectors: 2, similar: Some(Similar::ClosestShare(0.4)), ..Audience::default() };
        let world = audience.complete(None, reward.clone()).unwrap();
        assert_eq!(world.distance.data, [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0, 0.0]);
        assert_eq!(world.rules.similar_below, Some(4.0));
        assert!(world.conflicts(1, &[0]) && !world.conflicts(2, &[0]) && world.conflicts(2, &[2]));
        for (u, i) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
            let product: f32 =
                world.user_vectors.row(u).iter().zip(world.item_vectors.row(i)).map(|(a, b)| a * b).sum();
            assert!((product + 3.0 - reward.row(u)[i]).abs() < 1e-4, "({u}, {i}): {product}");
        }
    }

    #[test]
    fn shared_distances_bring_their_threshold_and_no_other_is_taken() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let below = Audience { vectors: 2, similar: Some(Similar::Below(0.5)), ..Audience::default() };
        let shared = below.complete(None, reward.clone()).unwrap();
        let other = Audience { vectors: 2, ..Audience::default() };
        assert_eq!(other.complete(Some(&shared), reward.clone()).unwrap().rules.similar_below, Some(0.5));
        let error = below.complete(Some(&shared), reward).unwrap_err().to_string();
        assert!(error.contains("`audience.similar` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_euclidean_threshold_is_strict() {
        // Items 0 and 1 are √(3² + 4²) = 5 apart.
        let reward = Array::new(&[2, 2], vec![1.0, 4.0, 5.0, 1.0]);
        let conflicts = |threshold: f64| {
            let similar = Some(Similar::EuclideanBelow(threshold));
            let audience = Audience { vectors: 2, similar, ..Audience::default() };
            audience.complete(None, reward.clone()).unwrap().conflicts(0, &[1])
        };
        assert!(!conflicts(4.99) && !conflicts(5.0) && conflicts(5.01));
    }

    #[test]
    fn a_share_outside_its_range_is_refused() {
        let audience = Audience { similar: Some(Similar::ClosestShare(1.5)), ..Audience::default() };
        assert_eq!(audience.check().unwrap_err().0, "audience.similar.closest_share");
    }
}
