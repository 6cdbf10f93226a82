//! How far items are from each other, and below which distance they feel alike.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Array;

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
pub(super) const USUAL: Similar = Similar::ClosestShare(0.02);

/// Root mean square difference of the items' columns: `reward [U, I]` → `[I, I]`, in units of the rating. (EasyRL4Rec takes
/// the Euclidean distance, which is √U times as much; a mean does not grow with the log.)
pub(super) fn column_distances(reward: &Array) -> Result<Array> {
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
pub(super) fn closest(distance: &Array, share: f64) -> f32 {
    let items = distance.shape[0];
    let mut pairs: Vec<f32> = (0..items).flat_map(|i| distance.row(i)[..i].iter().copied()).collect();
    if pairs.is_empty() {
        return 0.0;
    }
    let rank = ((pairs.len() as f64 * share) as usize).min(pairs.len() - 1);
    *pairs.select_nth_unstable_by(rank, f32::total_cmp).1
}
