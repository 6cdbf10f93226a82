//! Vectors of users and items that policies start from: a factorisation of the expected rewards.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use pipeline::Context;
use pipeline::memory_need::zeros;
use rayon::prelude::*;

use super::landmarks::of_sample;
use crate::artifact::{Array, Factored, Factors, Rewards};
use crate::nn::subspace;

/// `reward [U, I]` less its mean ≈ `user [U, D] · item [I, D]ᵀ`, the best such product; both factors are scaled to the same root mean
/// square. Of stored rewards by orthogonal (subspace) iteration; of factors from these, as if nothing were clamped and before any penalty;
/// of factors with networks from a sample of the rewards.
pub(super) fn factorize(rewards: &Rewards, width: usize, cx: &Context) -> Result<(Array, Array)> {
    let (users, items) = (rewards.users(), rewards.items());
    ensure!(
        width <= users.min(items),
        "simulator.embedding_dim is {width}, but there are {users} users and {items} items\nhelp: set `simulator: {{ embedding_dim: {} }}`, or \
         less",
        users.min(items)
    );
    let check_cancelled = cx.check_cancelled_from_now();
    let bar = cx.bar("vectors", Some(subspace::PASSES), "passes");
    let passed = || {
        bar.inc(1);
        check_cancelled()
    };
    match rewards {
        Rewards::Dense(reward) => {
            let mean = reward.data.iter().map(|&x| f64::from(x)).sum::<f64>() / reward.data.len() as f64;
            let mut matrix = zeros::<f64>("rewards less their mean, for their vectors", reward.data.len())?;
            matrix.par_iter_mut().zip(&reward.data).for_each(|(less, &x)| *less = f64::from(x) - mean);
            let matrix = Tensor::from_vec(matrix, (users, items), &Device::Cpu)?;
            let basis = subspace::largest(&matrix, width, passed)?;
            balanced(&matrix.matmul(&basis)?, &basis, width)
        }
        Rewards::Factored(factored) if factored.has_networks() => {
            let (scores, directions) = of_sample(rewards, width, cx, &bar)?;
            balanced(&scores, &directions, width)
        }
        Rewards::Factored(factored) => {
            let [user, item] = sides(factored)?;
            let ((user, left), (item, right)) = (qr(user, &check_cancelled)?, qr(item, &check_cancelled)?);
            // Users · core · itemsᵀ are the rewards. At a length of 1 what is no direction of it is below what counts as one.
            let core = left.matmul(&right.t()?)?;
            let length = core.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?.max(1e-30);
            let directions = width.min(core.dim(1)?);
            let basis = subspace::largest(&(&core / length)?, directions, passed)?;
            balanced(&user.matmul(&core.matmul(&basis)?)?, &item.matmul(&basis)?, width)
        }
        Rewards::AtLeast { .. } | Rewards::Constant { .. } => bail!("rewards of 0 and 1 have no vectors"),
    }
}

/// Scaled to the same root mean square; directions that do not exist are zero.
fn balanced(scores: &Tensor, basis: &Tensor, width: usize) -> Result<(Array, Array)> {
    let mean_square = |t: &Tensor| t.sqr()?.mean_all()?.to_scalar::<f64>();
    let balance = (mean_square(scores)? / mean_square(basis)?.max(1e-30)).sqrt().sqrt().max(1e-12);
    let export = |t: Tensor| -> Result<Array> {
        let rows = t.dim(0)?;
        let t = t.pad_with_zeros(1, 0, width - t.dim(1)?)?.to_dtype(DType::F32)?;
        Ok(Array::new(&[rows, width], t.flatten_all()?.to_vec1()?))
    };
    Ok((export((scores / balance)?)?, export((basis * balance)?)?))
}

/// Columns of users and of items whose products add up to the mean of the models less its mean over all pairs.
fn sides(factored: &Factored) -> Result<[Vec<Vec<f64>>; 2]> {
    let (mut user, mut item) = (Vec::new(), Vec::new());
    let mut total = 0.0;
    for Factors { users, items, .. } in &factored.members {
        let share = 1.0 / factored.members.len() as f64;
        for column in 0..users.shape[1] {
            let of = |array: &Array, by: f64| -> Result<Vec<f64>> {
                let mut numbers = zeros::<f64>("a column of factors", array.shape[0])?;
                numbers.iter_mut().enumerate().for_each(|(row, x)| *x = by * f64::from(array.row(row)[column]));
                Ok(numbers)
            };
            let (x, y) = (of(users, share)?, of(items, 1.0)?);
            total += mean(&x) * mean(&y);
            user.push(x);
            item.push(y);
        }
    }
    user.push(vec![-total; factored.users()]);
    item.push(vec![1.0; factored.items()]);
    Ok([user, item])
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Columns → Q `[R, C]` with orthonormal columns and R `[C, C]`, whose product they are, by Gram and Schmidt, twice for accuracy. A
/// column that depends on those before it is zero in Q.
fn qr(mut columns: Vec<Vec<f64>>, check_cancelled: &dyn Fn() -> Result<()>) -> Result<(Tensor, Tensor)> {
    let count = columns.len();
    let mut factor = vec![0.0; count * count];
    for c in 0..count {
        check_cancelled()?;
        let (done, rest) = columns.split_at_mut(c);
        let column = &mut rest[0];
        let length = |column: &[f64]| column.iter().map(|x| x * x).sum::<f64>().sqrt();
        let before = length(column);
        for _ in 0..2 {
            for (k, other) in done.iter().enumerate() {
                let dot: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
                factor[k * count + c] += dot;
            }
        }
        let left = length(column);
        let scale = if left > 1e-10 * before { 1.0 / left } else { 0.0 };
        column.iter_mut().for_each(|a| *a *= scale);
        factor[c * count + c] = if scale > 0.0 { left } else { 0.0 };
    }
    let height = columns[0].len();
    let mut rows = zeros::<f64>("orthonormal columns of factors", height * count)?;
    for (c, column) in columns.iter().enumerate() {
        rows[c..].iter_mut().step_by(count).zip(column).for_each(|(place, &x)| *place = x);
    }
    let rows = Tensor::from_vec(rows, (height, count), &Device::Cpu)?;
    Ok((rows, Tensor::from_vec(factor, (count, count), &Device::Cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    fn array(shape: &[usize], seed: u64) -> Array {
        let data = Init::new(seed).normal(shape, 1.0).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        Array::new(shape, data)
    }

    fn product((user, item): &(Array, Array)) -> Vec<f64> {
        let pairs = (0..user.shape[0]).flat_map(|u| (0..item.shape[0]).map(move |i| (u, i)));
        pairs.map(|(u, i)| user.row(u).iter().zip(item.row(i)).map(|(a, b)| f64::from(a * b)).sum()).collect()
    }

    #[test]
    fn an_interruption_ends_it() {
        let asked = std::cell::Cell::new(0);
        let ends = || {
            asked.set(asked.get() + 1);
            ensure!(asked.get() < 2, "enough");
            Ok(())
        };
        assert_eq!(qr(vec![vec![1.0, 2.0]; 3], &ends).unwrap_err().to_string(), "enough");
        assert_eq!(asked.get(), 2, "each column asks; the passes do (`subspace`)");
    }

    /// Of two models of rank 2 each, in four dimensions all of it and in two the best part of it; in more than there are the rest is zero.
    #[test]
    fn vectors_of_factors_are_those_of_the_stored_matrix() {
        let member = |seed: u64| Factors::of_product(array(&[30, 2], seed), array(&[20, 2], seed + 1));
        let members = vec![member(1), member(3)];
        let factored = Factored { members, range: (-1e9, 1e9), penalty: None };
        let rows = (0..30_u32).flat_map(|user| (0..20_u32).map(move |item| (user, item)));
        let stored: Vec<f32> = rows.map(|(user, item)| factored.of(user, item)).collect();
        let dense = Rewards::Dense(Array::new(&[30, 20], stored));
        for width in [2, 4, 8] {
            let (found, wanted) =
                (factorize(&factored.clone().into(), width, &cx()).unwrap(), factorize(&dense, width, &cx()).unwrap());
            let apart = product(&found).iter().zip(product(&wanted)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-4, "{width}: {apart}");
            let square =
                |array: &Array| array.data.iter().map(|x| f64::from(x * x)).sum::<f64>() / array.shape[0] as f64;
            assert!((square(&found.0) / square(&found.1) - 1.0).abs() < 1e-4, "of the same root mean square");
        }
        // Biases alone: one direction, the difference to the mean has two at most.
        let users = Array::new(&[3, 2], vec![1.0, 1.0, 2.0, 1.0, 3.0, 1.0]);
        let items = Array::new(&[4, 2], vec![1.0, 0.0, 1.0, 0.5, 1.0, -0.5, 1.0, 0.0]);
        let biases = Factored { members: vec![Factors::of_product(users, items)], range: (0.0, 9.0), penalty: None };
        let found = factorize(&biases.clone().into(), 3, &cx()).unwrap();
        for (cell, value) in product(&found).into_iter().enumerate() {
            let wanted = f64::from(biases.of(cell as u32 / 4, cell as u32 % 4)) - 2.0;
            assert!((value - wanted).abs() < 1e-5, "{cell}: {value} for {wanted}");
        }
        assert!((0..3).all(|user| found.0.row(user)[2] == 0.0), "{found:?}");
    }
}
