//! Similarities of items that are computed from vectors when they are needed.
//!
//! z = items·L/σ with L·Lᵀ = usersᵀ·users/U, so that ‖z_i − z_j‖² = (δ/σ)². σ is the quantile of [`PAIRS`] pairs that are drawn once from
//! a fixed seed: of a share of 0.02 its standard error is 0.00014. Similarities below 2⁻²⁴, which is half the distance of 1 to the next
//! float, are 0. So an item is similar to few, and its similarities are a list.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow, ensure};
use rand::RngExt;
use rayon::prelude::*;

use crate::artifact::Array;
use crate::nn::kernels::{ITEM_BLOCK, LANES, SimilarItems, exp, with_simd};
use crate::nn::layers::init::rng;

/// How many pairs σ is estimated from.
const PAIRS: usize = 1 << 20;

/// (δ/σ)² from which on a similarity is below 2⁻²⁴: (24·ln 2)^¼.
const FARTHEST: f32 = 2.019_577_5;

/// An odd number with bits everywhere, by which hashes of vectors are multiplied: the golden ratio.
const HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of the lists that are kept for later batches.
const KEPT_BYTES: usize = 1 << 27;

/// The vectors z of a catalogue.
pub struct SimilarityVectors {
    items: usize,
    width: usize,
    /// z, `[⌈I/16⌉, D, 16]`: one number of 16 items side by side.
    lanes: Vec<[f32; LANES]>,
    /// σ².
    bandwidth: f32,
    /// Of each item, the first with the same vector: items of which nothing is known are all similar to each other, and one list says it.
    first_alike: Vec<u32>,
    kept: Mutex<Kept>,
}

/// Lists by item, with the time of their last use.
#[derive(Default)]
struct Kept {
    lists: HashMap<u32, (Arc<SimilarItems>, u64)>,
    bytes: usize,
    time: u64,
}

impl SimilarityVectors {
    /// From `users [U, D]` and `items [I, D]`; `bandwidth` is σ² where it is known.
    ///
    /// # Errors
    /// When the widths differ.
    pub fn new(users: &Array, items: &Array, share: f64, bandwidth: Option<f32>) -> Result<Self> {
        let (count, width) = (items.shape[0], items.shape[1]);
        ensure!(users.shape[1] == width, "user vectors are {:?}, and item vectors {:?}", users.shape, items.shape);
        let root = square_root(&metric(users, width), width);
        let project = |item: &[f32]| -> Vec<f64> {
            let column = |k: usize| (k..width).map(|d| f64::from(item[d]) * root[d * width + k]).sum();
            (0..width).map(column).collect()
        };
        let vectors: Vec<f64> = items.data.par_chunks(width.max(1)).flat_map_iter(project).collect();
        let bandwidth = match bandwidth {
            Some(bandwidth) => bandwidth,
            None if count < 2 => 1.0,
            None => {
                let mut draw = rng(&[0x5161]);
                let drawn: Vec<[usize; 2]> = (0..PAIRS)
                    .map(|_| {
                        let (i, j) = (draw.random_range(0..count), draw.random_range(0..count - 1));
                        [i, j + usize::from(j >= i)]
                    })
                    .collect();
                let square = |[i, j]: [usize; 2]| -> f64 {
                    let (a, b) = (&vectors[i * width..][..width], &vectors[j * width..][..width]);
                    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
                };
                let mut squares: Vec<f64> = drawn.into_par_iter().map(square).collect();
                quantile(&mut squares, share) as f32
            }
        };
        let scale = 1.0 / f64::from(bandwidth).sqrt();
        let mut lanes = vec![[0.0; LANES]; count.div_ceil(LANES) * width];
        for (item, vector) in vectors.chunks_exact(width.max(1)).enumerate() {
            let place = &mut lanes[item / LANES * width..][..width];
            place.iter_mut().zip(vector).for_each(|(lanes, z)| lanes[item % LANES] = (z * scale) as f32);
        }
        let none = Self { items: count, width, lanes, bandwidth, first_alike: vec![], kept: Mutex::default() };
        Ok(Self { first_alike: none.first_alike(), ..none })
    }

    /// Of each item, the first with the same vector.
    fn first_alike(&self) -> Vec<u32> {
        let hash = |item: u32| -> (u64, u32) {
            let numbers = self.vector(item).into_iter();
            // −0 is 0.
            let mix = |hash: u64, z: f32| (hash.rotate_left(5) ^ u64::from((z + 0.0).to_bits())).wrapping_mul(HASH);
            (numbers.fold(0, mix), item)
        };
        let mut hashes: Vec<(u64, u32)> = (0..self.items as u32).into_par_iter().map(hash).collect();
        hashes.par_sort_unstable();
        let mut first: Vec<u32> = (0..self.items as u32).collect();
        for alike in hashes.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            let vector = self.vector(alike[0].1);
            for &(_, item) in &alike[1..] {
                if self.vector(item) == vector {
                    first[item as usize] = alike[0].1;
                }
            }
        }
        first
    }

    /// σ².
    #[must_use]
    pub fn bandwidth(&self) -> f32 {
        self.bandwidth
    }

    fn vector(&self, item: u32) -> Vec<f32> {
        let place = &self.lanes[item as usize / LANES * self.width..][..self.width];
        place.iter().map(|lanes| lanes[item as usize % LANES]).collect()
    }

    /// The vectors of some items side by side, for [`SimilarityVectors::add_similarities`].
    #[must_use]
    pub fn gathered(&self, items: &[u32]) -> Gathered {
        let mut lanes = vec![[0.0; LANES]; items.len().div_ceil(LANES) * self.width];
        for (at, &item) in items.iter().enumerate() {
            let place = &mut lanes[at / LANES * self.width..][..self.width];
            place.iter_mut().zip(self.vector(item)).for_each(|(lanes, z)| lanes[at % LANES] = z);
        }
        Gathered(lanes)
    }

    /// The similarities of `item` to each of `others`, added to `out` times `scale`.
    pub fn add_similarities(&self, item: u32, others: &Gathered, scale: f32, out: &mut [[f32; 2]]) {
        let vector = self.vector(item);
        let groups = others.0.chunks_exact(self.width.max(1));
        for (group, out) in groups.zip(out.chunks_mut(LANES)) {
            let squares = with_simd(
                #[inline(always)]
                || squares(&vector, group),
            );
            if squares.iter().any(|&square| square < FARTHEST) {
                out.iter_mut().zip(squares).for_each(|(pair, square)| pair[1] += scale * similarity(square));
            }
        }
    }

    /// The items that are similar to each of `items`; a list is computed once while it is kept, and items with the same vector share it.
    ///
    /// # Errors
    /// When another thread panicked within it.
    pub fn lists(&self, items: &[u32]) -> Result<Vec<Arc<SimilarItems>>> {
        let first = |&item: &u32| self.first_alike[item as usize];
        let mut distinct: Vec<u32> = items.iter().map(first).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let lists = self.distinct_lists(&distinct)?;
        let place = |item: &u32| distinct.partition_point(|other| other < &first(item));
        Ok(items.iter().map(|item| lists[place(item)].clone()).collect())
    }

    /// Those of items that differ.
    fn distinct_lists(&self, items: &[u32]) -> Result<Vec<Arc<SimilarItems>>> {
        let broken = |_| anyhow!("a thread panicked while it kept lists of similar items");
        let mut found: Vec<Option<Arc<SimilarItems>>> = {
            let mut kept = self.kept.lock().map_err(|_| broken(()))?;
            kept.time += 1;
            let time = kept.time;
            let mut known = |item: &u32| {
                let (list, used) = kept.lists.get_mut(item)?;
                *used = time;
                Some(list.clone())
            };
            items.iter().map(&mut known).collect()
        };
        let missing: Vec<usize> = (0..items.len()).filter(|&at| found[at].is_none()).collect();
        let new: Vec<Arc<SimilarItems>> =
            missing.par_iter().map(|&at| Arc::new(self.similar_to(items[at], 0..self.items))).collect();
        if !new.is_empty() {
            let mut kept = self.kept.lock().map_err(|_| broken(()))?;
            for (&at, list) in missing.iter().zip(&new) {
                kept.keep(items[at], list);
            }
        }
        missing.into_iter().zip(new).for_each(|(at, list)| found[at] = Some(list));
        Ok(found.into_iter().flatten().collect())
    }

    fn similar_to(&self, item: u32, range: Range<usize>) -> SimilarItems {
        let vector = self.vector(item);
        let mut list = SimilarItems::default();
        for block in range.step_by(ITEM_BLOCK) {
            for group in block / LANES..(block + ITEM_BLOCK).min(self.items).div_ceil(LANES) {
                let squares = with_simd(
                    #[inline(always)]
                    || squares(&vector, &self.lanes[group * self.width..][..self.width]),
                );
                if squares.iter().all(|&square| square >= FARTHEST) {
                    continue;
                }
                for (lane, &square) in squares.iter().enumerate() {
                    let (other, similarity) = (group * LANES + lane, similarity(square));
                    if similarity > 0.0 && other < self.items {
                        list.push(other - block, similarity);
                    }
                }
            }
            list.end_block();
        }
        list
    }
}

/// Vectors z of C items, `[⌈C/16⌉, D, 16]`.
pub struct Gathered(Vec<[f32; LANES]>);

/// (δ/σ)² of an item with `vector [D]` to the 16 of a group `[D, 16]`.
#[inline(always)]
fn squares(vector: &[f32], group: &[[f32; LANES]]) -> [f32; LANES] {
    let mut squares = [0.0; LANES];
    for (lanes, z) in group.iter().zip(vector) {
        squares.iter_mut().zip(lanes).for_each(|(sum, other)| *sum += (z - other) * (z - other));
    }
    squares
}

impl Kept {
    fn keep(&mut self, item: u32, list: &Arc<SimilarItems>) {
        let time = self.time;
        if self.lists.insert(item, (list.clone(), time)).is_none() {
            self.bytes += list.bytes();
        }
        if self.bytes > KEPT_BYTES {
            // The half that was used last stays.
            let mut uses: Vec<(u64, u32)> = self.lists.iter().map(|(&item, &(_, used))| (used, item)).collect();
            uses.sort_unstable();
            for (_, item) in &uses[..uses.len().div_ceil(2)] {
                self.bytes -= self.lists.remove(item).map_or(0, |(list, _)| list.bytes());
            }
        }
    }
}

/// e^−(δ/σ)⁸ of (δ/σ)²; 0 from [`FARTHEST`] on.
#[inline(always)]
fn similarity(square: f32) -> f32 {
    if square < FARTHEST { exp(-(square * square) * (square * square)) } else { 0.0 }
}

/// usersᵀ·users/U, `[D, D]`.
fn metric(users: &Array, width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width * width];
    for user in users.data.chunks_exact(width.max(1)) {
        for (a, row) in user.iter().zip(sums.chunks_exact_mut(width.max(1))) {
            row.iter_mut().zip(user).for_each(|(sum, b)| *sum += f64::from(*a) * f64::from(*b));
        }
    }
    let count = users.shape[0].max(1) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// The lower triangle L of L·Lᵀ = `metric [D, D]` (Cholesky). A column of a direction in which no user differs is 0.
fn square_root(metric: &[f64], width: usize) -> Vec<f64> {
    let mut root = vec![0.0; width * width];
    let largest = (0..width).map(|k| metric[k * width + k]).fold(0.0, f64::max);
    for k in 0..width {
        let dot =
            |root: &[f64], row: usize| -> f64 { (0..k).map(|d| root[row * width + d] * root[k * width + d]).sum() };
        let pivot = metric[k * width + k] - dot(&root, k);
        if pivot <= largest * 1e-12 {
            continue;
        }
        root[k * width + k] = pivot.sqrt();
        for row in k + 1..width {
            root[row * width + k] = (metric[row * width + k] - dot(&root, row)) / pivot.sqrt();
        }
    }
    root
}

/// The squared distance below which the share `share` of `pairs` lies, of which there is at least one. Where it would be that of items
/// which are alike but for rounding, as those are of which nothing is known, it is that of the other pairs.
pub(in crate::nn) fn quantile(pairs: &mut [f64], share: f64) -> f64 {
    /// From here on two items differ, absolutely and against the mean.
    const APART: f64 = 1e-12;
    let of_share = |pairs: &mut [f64]| {
        let rank = ((pairs.len() as f64 * share) as usize).min(pairs.len() - 1);
        *pairs.select_nth_unstable_by(rank, f64::total_cmp).1
    };
    let apart = APART.max(APART * pairs.iter().sum::<f64>() / pairs.len() as f64);
    let all = of_share(pairs);
    if all > apart {
        return all;
    }
    let mut others: Vec<f64> = pairs.iter().copied().filter(|&square| square > apart).collect();
    if others.is_empty() { apart } else { of_share(&mut others) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;
    use crate::nn::encoders::item_similarity::ItemSimilarity;

    fn array(seed: u64, shape: [usize; 2]) -> Array {
        Array::new(&shape, Init::new(seed).normal(&shape, 1.0).unwrap().flatten_all().unwrap().to_vec1().unwrap())
    }

    #[test]
    fn lists_and_pairs_are_what_a_table_holds() {
        // Two users for three numbers: one direction in which none differs.
        for users in [array(1, [2, 3]), array(2, [50, 3])] {
            let items = array(3, [2100, 3]);
            let table = ItemSimilarity::shared(&users, &items, 0.02, None).unwrap();
            let ItemSimilarity::Table(table) = &*table else { panic!("a small catalogue has a table") };
            let vectors = SimilarityVectors::new(&users, &items, 0.02, None).unwrap();
            let (mut held, mut worst) = (0, 0.0_f32);
            for item in [0, 7, 1023, 2099] {
                let list = vectors.lists(&[item]).unwrap().remove(0);
                let mut row = vec![0.0; 2100];
                for block in 0..3 {
                    for (&offset, &value) in list.block(block).0.iter().zip(list.block(block).1) {
                        row[block * ITEM_BLOCK + offset as usize] = value;
                    }
                }
                let others: Vec<u32> = (0..2100).collect();
                let mut pairs = vec![[0.0; 2]; 2100];
                vectors.add_similarities(item, &vectors.gathered(&others), 1.0, &mut pairs);
                assert!(pairs.iter().zip(&row).all(|(pair, listed)| pair[1] == *listed));
                assert_eq!(row[item as usize], 1.0);
                for (found, wanted) in row.iter().zip(&table[item as usize * 2100..]) {
                    // σ is estimated from a sample of the pairs.
                    worst = worst.max((found - wanted).abs());
                    held += usize::from(*found > 0.0);
                }
            }
            assert!(worst < 0.02, "{worst}");
            assert!(held > 4 && held < 4 * 2100 / 2, "{held}");
        }
    }

    #[test]
    fn a_known_bandwidth_gives_the_table_within_rounding() {
        let (users, items) = (array(2, [50, 3]), array(3, [300, 3]));
        let wide = |array: &Array| -> Vec<f64> { array.data.iter().map(|&x| f64::from(x)).collect() };
        let (u, z) = (wide(&users), wide(&items));
        let square = |i: usize, j: usize| -> f64 {
            let dot = |user: &[f64], item: usize| -> f64 { (0..3).map(|d| user[d] * z[3 * item + d]).sum() };
            u.chunks(3).map(|user| (dot(user, i) - dot(user, j)).powi(2)).sum::<f64>() / 50.0
        };
        let vectors = SimilarityVectors::new(&users, &items, 0.5, Some(0.25)).unwrap();
        for (i, j) in [(0, 1), (5, 299), (17, 17), (100, 31)] {
            let exact = (-(square(i, j) / 0.25).powi(4)).exp();
            let mut found = [[0.0; 2]];
            vectors.add_similarities(i as u32, &vectors.gathered(&[j as u32]), 1.0, &mut found);
            let found = f64::from(found[0][1]);
            assert!((found - exact).abs() < 1e-5, "{found} for {exact}");
        }
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let mut kept = Kept::default();
        let mut list = SimilarItems::default();
        (0..1024).for_each(|item| list.push(item, 1.0));
        list.end_block();
        let (list, room) = (Arc::new(list), KEPT_BYTES / 6148);
        for item in 0..room as u32 + 10 {
            kept.time += 1;
            kept.keep(item, &list);
            assert!(kept.bytes <= KEPT_BYTES && kept.lists.contains_key(&item));
        }
        assert_eq!(kept.bytes, kept.lists.len() * list.bytes());
        assert!(!kept.lists.contains_key(&0));
    }

    #[test]
    fn threads_change_no_bit() {
        let (users, items) = (array(4, [20, 5]), array(5, [3000, 5]));
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let vectors = SimilarityVectors::new(&users, &items, 0.05, None).unwrap();
                let lists = vectors.lists(&[3, 2999, 3, 1024]).unwrap();
                let bits = |list: &Arc<SimilarItems>| {
                    (0..3).flat_map(|block| list.block(block).1.iter().map(|x| x.to_bits())).collect::<Vec<_>>()
                };
                (vectors.bandwidth.to_bits(), lists.iter().map(bits).collect::<Vec<_>>())
            })
        };
        assert!(of(1) == of(2) && of(1) == of(16));
    }
}
