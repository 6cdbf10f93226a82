//! Vectors of users and items from a sample of rewards: for rewards that are neither stored nor a product of vectors.
//!
//! The directions of the items are those of the rows of some users; what a user has of each is fitted to the user's rewards for some items
//! by least squares (a column-and-row approximation; Drineas, Mahoney and Muthukrishnan 2008, arXiv 0708.3696, with rows and columns evenly
//! spaced). With all users and items it is the best product that there is.

use anyhow::Result;
use candle_core::{Device, Tensor};
use pipeline::Context;
use pipeline::progress::Bar;
use rayon::prelude::*;

use crate::artifact::{Rewards, spaced};
use crate::nn::subspace;
use crate::ratings::solve;

/// Users whose rows are taken, and items whose rewards are taken of every user, at most.
const SOME: usize = 1024;

/// Numbers of the rows that are held together.
const HELD: usize = 1 << 25;

/// Scores `[U, width]` and directions `[I, width]`, f64, whose product is near the rewards less their mean. Each pass moves `passes`.
pub(super) fn of_sample(rewards: &Rewards, width: usize, cx: &Context, passes: &Bar) -> Result<(Tensor, Tensor)> {
    of_some(rewards, width, [SOME.min(HELD / rewards.items().max(1)), SOME], cx, passes)
}

/// The same from so many users and items.
fn of_some(
    rewards: &Rewards,
    width: usize,
    [rows, columns]: [usize; 2],
    cx: &Context,
    passes: &Bar,
) -> Result<(Tensor, Tensor)> {
    let (users, items) = (rewards.users(), rewards.items());
    let (rows, columns) = (spaced(users, rows.max(width)), spaced(items, columns.max(width)));
    let check_cancelled = cx.check_cancelled_from_now();
    let bar = cx.bar("rewards of a sample", Some((rows.len() + users) as u64), "users");
    let asked = |rows: &[u32], columns: &[u32]| -> Result<Vec<f64>> {
        let of_user = |&user: &u32| -> Result<Vec<f64>> {
            check_cancelled()?;
            let rewards = rewards.of_pairs(columns.iter().map(|&item| (user, item)));
            bar.inc(1);
            Ok(rewards.into_iter().map(f64::from).collect())
        };
        Ok(rows.par_iter().map(of_user).collect::<Result<Vec<_>>>()?.concat())
    };
    let mut of_rows = asked(&rows, &spaced(items, items))?;
    let mean = of_rows.iter().sum::<f64>() / of_rows.len() as f64;
    of_rows.iter_mut().for_each(|reward| *reward -= mean);
    let passed = || {
        passes.inc(1);
        check_cancelled()
    };
    let directions = subspace::largest(&Tensor::from_vec(of_rows, (rows.len(), items), &Device::Cpu)?, width, passed)?;
    let of_columns = asked(&spaced(users, users), &columns)?;
    let of_columns = (Tensor::from_vec(of_columns, (users, columns.len()), &Device::Cpu)? - mean)?;
    let sampled = directions.index_select(&Tensor::new(columns, &Device::Cpu)?, 0)?;
    let scores = least_squares(&of_columns, &sampled)?;
    Ok((scores, directions))
}

/// The X `[R, D]` for which X·Bᵀ is nearest to `values [R, C]`, for `basis` B `[C, D]`. Of a direction that is zero it is zero.
fn least_squares(values: &Tensor, basis: &Tensor) -> Result<Tensor> {
    let width = basis.dim(1)?;
    let square: Vec<f64> = basis.t()?.matmul(basis)?.flatten_all()?.to_vec1()?;
    let ridge = 1e-9 * (0..width).map(|k| square[k * width + k]).sum::<f64>().max(1e-30) / width as f64;
    let right: Vec<Vec<f64>> = values.matmul(basis)?.to_vec2()?;
    let solved = |right: &Vec<f64>| {
        let mut square = square.clone();
        (0..width).for_each(|k| square[k * width + k] += ridge);
        solve(&mut square, right)
    };
    let rows: Vec<Vec<f64>> = right.par_iter().map(solved).collect();
    Ok(Tensor::new(rows, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

    #[test]
    fn what_a_sample_of_a_product_says_is_the_product() {
        // Of rank 2.
        let (users, items) = (150_usize, 110_usize);
        let pays = |u: usize, i: usize| {
            let (u, i) = (u as f32, i as f32);
            3.0 + (u * 0.37).sin() * (i * 0.11).cos() + 0.5 * (u * 0.05).cos() * (i * 0.7).sin()
        };
        let data: Vec<f32> = (0..users * items).map(|k| pays(k / items, k % items)).collect();
        let rewards = Rewards::from(Array::new(&[users, items], data));
        let cx = Context::detached(std::path::Path::new("unused"));
        // What the mean of the sample leaves is a direction, too.
        let found = of_some(&rewards, 3, [40, 30], &cx, &cx.bar("", None, "")).unwrap();
        let numbers = |tensor: &Tensor| tensor.to_vec2::<f64>().unwrap();
        let (scores, directions) = (numbers(&found.0), numbers(&found.1));
        let rows: Vec<f64> =
            spaced(users, 40).iter().flat_map(|&u| (0..items).map(move |i| f64::from(pays(u as usize, i)))).collect();
        let mean = rows.iter().sum::<f64>() / rows.len() as f64;
        for (u, i) in [(0, 0), (7, 109), (149, 3), (80, 52)] {
            let product: f64 = scores[u].iter().zip(&directions[i]).map(|(a, b)| a * b).sum();
            let wanted = f64::from(pays(u, i)) - mean;
            assert!((product - wanted).abs() < 1e-4, "({u}, {i}): {product} for {wanted}");
        }
        assert_eq!((spaced(5, 9), spaced(9, 3)), (vec![0, 1, 2, 3, 4], vec![0, 3, 6]));
    }
}
