//! Lazy steps of r̂ = μ + o_i + b_u + b_i + p_u·q_i by a fused kernel: one pass over the looked-up rows of a batch gives its predictions,
//! a second the gradients of its rows and a third their steps.
//!
//! ∂L/∂p_u = Σ_k e_k·q_k + 2·l2/R·c_u/n_u·p_u over the pairs k of u, with e_k = 2·w_k(r̂_k − r_k)/B, c_u uses in the batch and n_u in the
//! epoch; likewise q and both biases. The threads share pairs and rows at borders that depend on the batch only, and a row's sum is
//! in the order of the batch: bits are equal on any number of threads. While a batch is stepped, the next one is drawn and grouped.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use super::lookups::{Uses, inverse};
use super::rated_log::Sample;
use super::row_batches::Batches;
use super::shuffled_log::Batch;
use crate::artifact::Array;
use crate::nn::row_table::{ROWS, RowTable, dot, gradient_norm};
use crate::nn::{AdamW, Params, with_simd};

/// What is added to b_u + b_i + p_u·q_i.
pub(super) struct Intercepts {
    /// μ.
    pub mean: f64,
    /// o_i, one an item; none where it is empty.
    pub items: Vec<f32>,
}

/// The parameters of a user and of an item: a bias `[N, 1]` and factors `[N, D]`.
const TABLES: [[&str; 2]; 2] = [["user_bias", "user"], ["item_bias", "item"]];

/// The tables and all buffers of their steps.
pub(super) struct FactorSteps {
    intercepts: Intercepts,
    /// (b, p) of users and (b, q) of items.
    tables: [RowTable; 2],
    /// 2·l2/n of each row.
    decay: [Vec<f32>; 2],
    work: Work,
}

/// What a step computes.
#[derive(Default)]
struct Work {
    /// The looked-up rows of each pair, `[B, 1 + D]`.
    rows: [Vec<f32>; 2],
    /// r̂ − r, then e, `[B]`.
    errors: Vec<f32>,
    /// Of each used row, `[rows, 1 + D]`.
    gradients: [Vec<f32>; 2],
}

/// A batch with its pairs by user and by item.
#[derive(Default)]
struct Grouped {
    batch: Batch,
    groups: [Groups; 2],
}

/// The pairs of a batch by one of their ids.
#[derive(Default)]
struct Groups {
    /// id · 2³² + place of each pair, ascending.
    keys: Vec<u64>,
    /// Distinct ids, ascending.
    ids: Vec<u32>,
    /// Where the keys of each begin, and the end of all.
    starts: Vec<u32>,
}

impl Groups {
    fn fill(&mut self, pairs: &[Sample], id: fn(&Sample) -> u32) {
        self.keys.clear();
        self.keys.extend(pairs.iter().zip(0_u64..).map(|(pair, place)| (u64::from(id(pair)) << 32) | place));
        self.keys.sort_unstable();
        self.ids.clear();
        self.starts.clear();
        for (start, key) in self.keys.iter().enumerate() {
            let id = (key >> 32) as u32;
            if self.ids.last() != Some(&id) {
                self.ids.push(id);
                self.starts.push(start as u32);
            }
        }
        self.starts.push(self.keys.len() as u32);
    }

    /// The keys of the id at `group`.
    #[inline(always)]
    fn keys_of(&self, group: usize) -> &[u64] {
        &self.keys[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// The place of a key's pair in its batch.
#[inline(always)]
fn place(key: u64) -> usize {
    key as u32 as usize
}

impl Grouped {
    fn fill(&mut self, batches: &Batches<'_>, number: usize) {
        if number < batches.len() {
            batches.fill(number, &mut self.batch);
            let [users, items] = &mut self.groups;
            users.fill(&self.batch.pairs, |pair| pair.user);
            items.fill(&self.batch.pairs, |pair| pair.item);
        }
    }
}

impl FactorSteps {
    /// Of the parameters as they are, with the moments of their optimiser.
    ///
    /// # Errors
    /// When there are other parameters.
    pub fn new(intercepts: Intercepts, uses: &Uses, l2: f64, (params, adam): (&Params, &AdamW)) -> Result<Self> {
        let (values, state) = (params.export()?, adam.export()?);
        let table = |names: [&str; 2]| {
            let named = |arrays: &BTreeMap<String, Array>, prefix: &str| {
                let found = names.iter().map(|name| arrays.get(&format!("{prefix}{name}")).cloned());
                found.collect::<Option<Vec<Array>>>().context("a factorisation has biases and factors")
            };
            RowTable::new(&[named(&values, "")?, named(&state, "m.")?, named(&state, "v.")?])
        };
        let [users, items] = TABLES.map(table);
        let decay = |uses: &[f64]| uses.iter().map(|&uses| 2.0 * l2 as f32 * inverse(uses)).collect();
        Ok(Self {
            intercepts,
            tables: [users?, items?],
            decay: [decay(&uses.user), decay(&uses.item)],
            work: Work::default(),
        })
    }

    /// One pass over the batches, whose result is written to the parameters and their optimiser: Σ of the ratings' squared errors, each
    /// before its step.
    pub fn epoch(&mut self, batches: &Batches<'_>, (params, adam): (&Params, &mut AdamW)) -> Result<f64> {
        let (mut now, mut next, mut squares) = (Grouped::default(), Grouped::default(), 0.0);
        now.fill(batches, 0);
        for number in 0..batches.len() {
            let (stepped, ()) = rayon::join(|| self.step(&now, adam), || next.fill(batches, number + 1));
            squares += stepped?;
            batches.stepped(number);
            std::mem::swap(&mut now, &mut next);
        }
        self.write(params, adam)?;
        Ok(squares)
    }

    /// One step; Σ of the squared errors of its ratings before it.
    fn step(&mut self, grouped: &Grouped, adam: &mut AdamW) -> Result<f64> {
        let Grouped { batch, groups } = grouped;
        self.predict(&batch.pairs);
        let squares = self.work.errors[..batch.ratings].iter().map(|&error| f64::from(error).powi(2)).sum();
        let scale = 2.0 / batch.pairs.len() as f32;
        self.work.errors.iter_mut().zip(&batch.pairs).for_each(|(error, pair)| *error *= scale * pair.weight);
        let Work { rows: [users, items], errors, gradients: [of_users, of_items] } = &mut self.work;
        let (width, once) = (self.tables[0].width(), 1.0 / batch.ratings as f32);
        let [by_user, by_item] = groups;
        rayon::join(
            || gradients(width, by_user, errors, (users, items), (&self.decay[0], once), of_users),
            || gradients(width, by_item, errors, (items, users), (&self.decay[1], once), of_items),
        );
        let rates = adam.next_rates(gradient_norm(&[of_users, of_items]))?;
        let [user_table, item_table] = &mut self.tables;
        rayon::join(
            || user_table.step(rates, &by_user.ids, of_users),
            || item_table.step(rates, &by_item.ids, of_items),
        );
        Ok(squares)
    }

    /// Looks the rows of all pairs up, and the errors of their ratings.
    fn predict(&mut self, pairs: &[Sample]) {
        let Self { intercepts, tables: [users, items], work, .. } = self;
        let width = users.width();
        let mean = intercepts.mean as f32;
        for rows in &mut work.rows {
            rows.resize(pairs.len() * width, 0.0);
        }
        work.errors.resize(pairs.len(), 0.0);
        let [of_users, of_items] = &mut work.rows;
        let parts = of_users.par_chunks_mut(ROWS * width).zip(of_items.par_chunks_mut(ROWS * width));
        parts.zip(work.errors.par_chunks_mut(ROWS)).zip(pairs.par_chunks(ROWS)).for_each(
            |(((of_users, of_items), errors), pairs)| {
                with_simd(
                    #[inline(always)]
                    || {
                        let rows = of_users.chunks_exact_mut(width).zip(of_items.chunks_exact_mut(width));
                        for (((user, item), error), pair) in rows.zip(errors).zip(pairs) {
                            user.copy_from_slice(users.row(pair.user));
                            item.copy_from_slice(items.row(pair.item));
                            let offset = intercepts.items.get(pair.item as usize).copied().unwrap_or(0.0);
                            let rating = dot(&user[1..], &item[1..]) + (user[0] + item[0]) + mean + offset;
                            *error = rating - pair.rating;
                        }
                    },
                );
            },
        );
    }

    fn write(&self, params: &Params, adam: &mut AdamW) -> Result<()> {
        let (mut values, mut state) = (params.export()?, adam.export()?);
        for (names, table) in TABLES.iter().zip(&self.tables) {
            let [theta, mean, square] = table.parts(&names.map(|name| values[name].shape[1]));
            values.extend(names.iter().map(|&name| name.to_owned()).zip(theta));
            for (moment, parts) in [("m", mean), ("v", square)] {
                state.extend(names.iter().map(|name| format!("{moment}.{name}")).zip(parts));
            }
        }
        params.import(&values)?;
        adam.import(&state)
    }
}

/// Of each used row: Σ e·(1, factors of the other side) + `once`·decay·uses·θ, `[rows, 1 + D]`.
fn gradients(
    width: usize,
    groups: &Groups,
    errors: &[f32],
    (own, others): (&[f32], &[f32]),
    (decay, once): (&[f32], f32),
    out: &mut Vec<f32>,
) {
    out.resize(groups.ids.len() * width, 0.0);
    let parts = out.par_chunks_mut(ROWS * width).zip(groups.ids.par_chunks(ROWS)).enumerate();
    parts.for_each(|(part, (out, ids))| {
        with_simd(
            #[inline(always)]
            || {
                for (k, (gradient, &id)) in out.chunks_exact_mut(width).zip(ids).enumerate() {
                    let keys = groups.keys_of(part * ROWS + k);
                    // The row stands at each of its pairs.
                    let row = &own[place(keys[0]) * width..][..width];
                    let shrink = once * decay[id as usize] * keys.len() as f32;
                    gradient.iter_mut().zip(row).for_each(|(gradient, &x)| *gradient = shrink * x);
                    for &key in keys {
                        let (error, other) = (errors[place(key)], &others[place(key) * width..][..width]);
                        gradient[0] += error;
                        gradient[1..].iter_mut().zip(&other[1..]).for_each(|(gradient, &x)| *gradient += error * x);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    const L2: f64 = 0.5;
    const OFFSETS: [f32; 3] = [0.5, -0.25, 0.0];

    /// Three users, three items and two factors, of which nothing uses item 2.
    fn setup() -> (Params, AdamW, Uses) {
        let mut params = Params::default();
        for (name, width) in TABLES.as_flattened().iter().zip([1, 2, 1, 2]) {
            params.add(name, &Init::new(name.len() as u64).normal(&[3, width], 0.5).unwrap()).unwrap();
        }
        let adam = AdamW::new(&params, 1e-3, 0.0, f64::INFINITY).unwrap().with_sparse_rows();
        (params, adam, Uses { user: vec![4.0, 2.0, 1.0], item: vec![5.0, 2.0, 0.0] })
    }

    fn batch() -> Grouped {
        let sample = |user, item, rating, weight| Sample { user, item, rating, weight };
        let pairs =
            vec![sample(0, 1, 4.0, 0.5), sample(0, 0, 2.0, 1.0), sample(1, 1, 3.0, 2.0), sample(0, 1, 5.0, 1.0)];
        let mut grouped = Grouped { batch: Batch { pairs, ratings: 3 }, ..Grouped::default() };
        let [users, items] = &mut grouped.groups;
        users.fill(&grouped.batch.pairs, |pair| pair.user);
        items.fill(&grouped.batch.pairs, |pair| pair.item);
        grouped
    }

    /// L of the module's description in f64: tables of (b, p) and (b, q).
    fn loss(users: &[f64], items: &[f64], uses: &Uses) -> f64 {
        let batch = batch().batch;
        let (mut errors, mut penalty) = (0.0, 0.0);
        for pair in &batch.pairs {
            let (u, i) = (&users[pair.user as usize * 3..][..3], &items[pair.item as usize * 3..][..3]);
            let rating = 3.0 + f64::from(OFFSETS[pair.item as usize]) + u[0] + i[0] + u[1] * i[1] + u[2] * i[2];
            errors += f64::from(pair.weight) * (rating - f64::from(pair.rating)).powi(2);
            let size = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
            penalty += size(u) / uses.user[pair.user as usize] + size(i) / uses.item[pair.item as usize];
        }
        errors / batch.pairs.len() as f64 + L2 / batch.ratings as f64 * penalty
    }

    #[test]
    fn gradients_agree_with_finite_differences_and_a_step_moves_used_rows_alone() {
        let (params, mut adam, uses) = setup();
        let intercepts = Intercepts { mean: 3.0, items: OFFSETS.to_vec() };
        let mut steps = FactorSteps::new(intercepts, &uses, L2, (&params, &adam)).unwrap();
        let tables = |steps: &FactorSteps| {
            steps.tables.each_ref().map(|table| {
                (0..3)
                    .flat_map(|id| table.row(id).iter().map(|&x| f64::from(x)).collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            })
        };
        let [users, items] = tables(&steps);
        let grouped = batch();
        let squares = steps.step(&grouped, &mut adam).unwrap();
        let errors = grouped.batch.pairs[..3].iter().map(|pair| {
            let (u, i) = (&users[pair.user as usize * 3..][..3], &items[pair.item as usize * 3..][..3]);
            let offset = f64::from(OFFSETS[pair.item as usize]);
            (3.0 + offset + u[0] + i[0] + u[1] * i[1] + u[2] * i[2] - f64::from(pair.rating)).powi(2)
        });
        assert!((squares - errors.sum::<f64>()).abs() < 1e-4);
        for side in 0..2 {
            let gradient = &steps.work.gradients[side];
            let ids = &grouped.groups[side].ids;
            assert_eq!(ids, &[0, 1]);
            for (k, &found) in gradient.iter().enumerate() {
                let at = |by: f64| {
                    let mut tables = [users.clone(), items.clone()];
                    tables[side][ids[k / 3] as usize * 3 + k % 3] += by;
                    loss(&tables[0], &tables[1], &uses)
                };
                let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(found) - wanted).abs() < 1e-4, "side {side}, {k}: {found} {wanted}");
            }
        }
        // The first step of Adam is η along the sign of each gradient.
        let stepped = tables(&steps);
        for (side, before) in [users, items].iter().enumerate() {
            for (k, (now, before)) in stepped[side].iter().zip(before).enumerate() {
                let moved =
                    steps.work.gradients[side].get(k).map_or(0.0, |&gradient| -1e-3 * f64::from(gradient.signum()));
                assert!((now - before - moved).abs() < 1e-5, "side {side}, {k}");
            }
        }
    }

    #[test]
    fn what_was_stepped_is_written_to_the_parameters_and_their_optimiser() {
        let (params, mut adam, uses) = setup();
        let new = |params: &Params, adam: &AdamW| {
            let intercepts = Intercepts { mean: 3.0, items: Vec::new() };
            FactorSteps::new(intercepts, &uses, L2, (params, adam)).unwrap()
        };
        let mut steps = new(&params, &adam);
        steps.step(&batch(), &mut adam).unwrap();
        steps.write(&params, &mut adam).unwrap();
        let mut again = new(&params, &adam);
        for _ in 0..2 {
            let [one, other] = [&mut steps, &mut again].map(|steps| {
                let mut counting = AdamW::new(&params, 1e-3, 0.0, f64::INFINITY).unwrap();
                counting.import(&adam.export().unwrap()).unwrap();
                steps.step(&batch(), &mut counting).unwrap();
                steps.tables.each_ref().map(|table| table.parts(&[1, 2]))
            });
            assert!(one == other);
        }
    }

    #[test]
    fn a_step_that_is_not_finite_is_refused_with_what_to_lower() {
        let (params, mut adam, uses) = setup();
        let intercepts = Intercepts { mean: f64::INFINITY, items: Vec::new() };
        let mut steps = FactorSteps::new(intercepts, &uses, L2, (&params, &adam)).unwrap();
        let error = steps.step(&batch(), &mut adam).unwrap_err().to_string();
        assert!(error.contains("not finite\nhelp: lower `optimizer.learning_rate`"), "{error}");
    }
}
