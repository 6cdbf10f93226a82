//! A network over pairs of a user and an item whose first layer is a sum of a part of the user's and a part of the item's.

use super::array_hash;
use super::math::tanh;
use super::tensors::Array;

/// Pairs that go through the network side by side, so that the registers of processors are full.
const LANES: usize = 16;

/// What the network says of [`LANES`] pairs, one number of a layer after the other.
type Lanes = Vec<[f32; LANES]>;

/// n(u, i) = W_L·tanh(… W_2·tanh(a_u + c_i) + b_2 …) + b_L, of which a_u + c_i is the first layer of a network over what is known of both:
/// its product with the user's part, and that with the item's and the bias. So a pair takes the later layers alone.
#[derive(Clone, Debug, PartialEq)]
pub struct PairNetwork {
    /// a, `[U, H]`.
    pub users: Array,
    /// c, `[I, H]`.
    pub items: Array,
    /// W `[O, H]` and b `[O]` of each later layer; the last one has one output. Without any the first layer has one, n itself.
    pub layers: Vec<[Array; 2]>,
}

impl PairNetwork {
    /// Adds n of these pairs to numbers, in the order of the pairs. Products are summed in one order, whatever stands beside a pair.
    pub(super) fn add(&self, pairs: &[(u32, u32)], sums: &mut [f32]) {
        // Compiled for the widest registers; products and sums are never contracted, so the bits are the same each time.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let (mut values, mut next) = (Lanes::new(), Lanes::new());
                for (pairs, sums) in pairs.chunks(LANES).zip(sums.chunks_mut(LANES)) {
                    self.first(pairs, &mut values);
                    for [weight, bias] in &self.layers {
                        through(&mut values, weight, bias, &mut next);
                        std::mem::swap(&mut values, &mut next);
                    }
                    sums.iter_mut().zip(values[0]).for_each(|(sum, value)| *sum += value);
                }
            },
        );
    }

    /// The first layer of up to [`LANES`] pairs; what is missing repeats the last.
    #[inline(always)]
    fn first(&self, pairs: &[(u32, u32)], values: &mut Lanes) {
        values.resize(self.users.shape[1], [0.0; LANES]);
        for lane in 0..LANES {
            let (user, item) = pairs[lane.min(pairs.len() - 1)];
            let parts = self.users.row(user as usize).iter().zip(self.items.row(item as usize));
            values.iter_mut().zip(parts).for_each(|(values, (a, c))| values[lane] = a + c);
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        let layers = self.layers.iter().flatten();
        [&self.users, &self.items].into_iter().chain(layers).flat_map(|array| &array.data).all(|x| x.is_finite())
    }

    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(b"network");
        [&self.users, &self.items].into_iter().chain(self.layers.iter().flatten()).for_each(|array| {
            array_hash::update(hasher, array);
        });
    }

    /// Whether its parts belong together and to so many users and items.
    pub(super) fn fits(&self, users: usize, items: usize) -> bool {
        let matrix = |array: &Array, rows: usize, columns: usize| array.shape == [rows, columns];
        let width = self.users.shape.get(1).copied().unwrap_or_default();
        let last = self.layers.iter().try_fold(width, |width, [weight, bias]| {
            let outputs = bias.data.len();
            (bias.shape.len() == 1 && matrix(weight, outputs, width)).then_some(outputs)
        });
        matrix(&self.users, users, width) && matrix(&self.items, items, width) && last == Some(1)
    }
}

/// W·tanh(x) + b.
#[inline(always)]
fn through(values: &mut Lanes, weight: &Array, bias: &Array, next: &mut Lanes) {
    values.iter_mut().flatten().for_each(|x| *x = tanh(*x));
    next.clear();
    for (weights, &bias) in weight.data.chunks_exact(values.len()).zip(&bias.data) {
        let mut sums = [bias; LANES];
        for (&weight, values) in weights.iter().zip(&*values) {
            sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * x);
        }
        next.push(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], seed: usize) -> Array {
        let of = |k: usize| ((k * 37 + seed * 11) % 17) as f32 / 8.0 - 1.0;
        Array::new(shape, (0..shape.iter().product()).map(of).collect())
    }

    #[test]
    fn it_is_the_network_by_hand_whatever_stands_beside_a_pair() {
        let layers = vec![[array(&[4, 3], 3), array(&[4], 4)], [array(&[1, 4], 5), array(&[1], 6)]];
        let network = PairNetwork { users: array(&[5, 3], 1), items: array(&[7, 3], 2), layers };
        assert!(network.fits(5, 7) && !network.fits(5, 6) && network.is_finite());
        let pairs: Vec<(u32, u32)> = (0..5).flat_map(|user| (0..7).map(move |item| (user, item))).collect();
        let mut all = vec![0.5; pairs.len()];
        network.add(&pairs, &mut all);
        for (&(user, item), &found) in pairs.iter().zip(&all) {
            let layer = |x: &[f64], [weight, bias]: &[Array; 2]| -> Vec<f64> {
                let row =
                    |o: usize| -> f64 { weight.row(o).iter().zip(x).map(|(&w, x)| f64::from(w) * x.tanh()).sum() };
                (0..bias.data.len()).map(|o| row(o) + f64::from(bias.data[o])).collect()
            };
            let parts = network.users.row(user as usize).iter().zip(network.items.row(item as usize));
            let first: Vec<f64> = parts.map(|(&a, &c)| f64::from(a) + f64::from(c)).collect();
            let wanted = 0.5 + layer(&layer(&first, &network.layers[0]), &network.layers[1])[0];
            assert!((f64::from(found) - wanted).abs() < 1e-5, "({user}, {item}): {found} for {wanted}");
            let mut alone = [0.5];
            network.add(&[(user, item)], &mut alone);
            assert_eq!(alone[0].to_bits(), found.to_bits());
        }
        // Of one layer the sum of both parts is all.
        let linear = PairNetwork { users: array(&[5, 1], 1), items: array(&[7, 1], 2), layers: Vec::new() };
        let mut found = [0.0];
        linear.add(&[(2, 3)], &mut found);
        assert_eq!(found[0], linear.users.data[2] + linear.items.data[3]);
        assert!(linear.fits(5, 7) && !PairNetwork { layers: Vec::new(), ..network }.fits(5, 7));
    }
}
