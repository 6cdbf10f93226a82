//! AdamW (Loshchilov and Hutter 2019, algorithm 2) with a state that can be exported, so that a training resumes exactly.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{CpuStorage, DType, Device, Tensor, Var, WithDType};

use crate::artifact::Array;
use crate::nn::Params;
use crate::nn::kernels::{Gradient, Moments, Rates, Step, collect_param_grads, reference, sum_of_squares, with_slices};
use crate::nn::layers::params::{to_array, to_tensor};

/// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η·(m̂/(√v̂ + ε) + λθ), after the gradients are clipped to a global norm of
/// `max_grad_norm`. β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
pub struct AdamW {
    /// η; may be changed between steps.
    pub learning_rate: f64,
    /// λ, decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global gradient norm; infinity for none.
    pub max_grad_norm: f64,
    sparse_rows: bool,
    step: u32,
    moments: BTreeMap<String, ParamState>,
}

/// The moments of one parameter with its shape.
struct ParamState {
    shape: Vec<usize>,
    moments: MomentStorage,
}

/// The moments of a parameter, on its device.
enum MomentStorage {
    Cpu(Moments),
    /// m and v on a GPU.
    Gpu([Tensor; 2]),
}

impl ParamState {
    fn new(var: &Var) -> Result<Self> {
        let zeros = || match var.dtype() {
            DType::F64 => CpuStorage::F64(vec![0.0; var.elem_count()]),
            _ => CpuStorage::F32(vec![0.0; var.elem_count()]),
        };
        let moments = match var.device() {
            Device::Cpu => MomentStorage::Cpu(Moments { mean: zeros(), square: zeros() }),
            _ => MomentStorage::Gpu([var.zeros_like()?, var.zeros_like()?]),
        };
        Ok(Self { shape: var.dims().to_vec(), moments })
    }

    /// A step of the whole parameter or, where the gradient is of some rows of a table and `sparse_rows` is set, of these rows.
    fn step(&mut self, var: &Var, gradient: Gradient, rates: Rates, sparse_rows: bool) -> Result<()> {
        match (&mut self.moments, gradient) {
            (MomentStorage::Cpu(moments), Gradient::Sparse(rows)) if sparse_rows => {
                var.inplace_op2(&rows.values, &Step::of_rows(rates, &rows.ids, moments))?;
            }
            (MomentStorage::Cpu(moments), gradient) => {
                var.inplace_op2(&gradient.dense(var.as_tensor())?.contiguous()?, &Step::new(rates, moments))?;
            }
            (MomentStorage::Gpu([mean, square]), Gradient::RowMasked { dense, used }) if sparse_rows => {
                [*mean, *square] = reference::adam_sparse(var, (&dense, &used), [mean, square], &rates)?;
            }
            (MomentStorage::Gpu([mean, square]), gradient) => {
                let gradient = gradient.dense(var.as_tensor())?;
                [*mean, *square] = reference::adam(var, &gradient, mean, square, &rates)?;
            }
        }
        Ok(())
    }

    /// m and v.
    fn export(&self) -> Result<[Array; 2]> {
        let on_cpu = |moment: &CpuStorage| anyhow::Ok(Array::new(&self.shape, in_f32(moment)?));
        match &self.moments {
            MomentStorage::Cpu(Moments { mean, square }) => Ok([on_cpu(mean)?, on_cpu(square)?]),
            MomentStorage::Gpu([mean, square]) => Ok([to_array(mean)?, to_array(square)?]),
        }
    }

    fn import(&mut self, [mean, square]: [&Array; 2]) -> Result<()> {
        match &mut self.moments {
            MomentStorage::Cpu(moments) => {
                for (moment, array) in [(&mut moments.mean, mean), (&mut moments.square, square)] {
                    match moment {
                        CpuStorage::F64(all) => *all = array.data.iter().map(|&x| f64::from(x)).collect(),
                        all => *all = CpuStorage::F32(array.data.clone()),
                    }
                }
            }
            MomentStorage::Gpu(moments) => {
                for (moment, array) in moments.iter_mut().zip([mean, square]) {
                    *moment = to_tensor(array)?.to_dtype(moment.dtype())?.to_device(moment.device())?;
                }
            }
        }
        Ok(())
    }
}

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

impl AdamW {
    /// A new optimiser of `params`.
    pub fn new(params: &Params, learning_rate: f64, weight_decay: f64, max_grad_norm: f64) -> Result<Self> {
        let moments = params.iter().map(|(name, var)| Ok((name.clone(), ParamState::new(var)?)));
        let moments = moments.collect::<Result<_>>()?;
        Ok(Self { learning_rate, weight_decay, max_grad_norm, sparse_rows: false, step: 0, moments })
    }

    /// Updates only those rows of an embedding table that the loss uses; the others keep their values and moments, as in PyTorch's
    /// `SparseAdam`. Without it unused rows keep moving by their momentum, and a step costs as much as the whole table.
    #[must_use]
    pub fn with_sparse_rows(self) -> Self {
        Self { sparse_rows: true, ..self }
    }

    /// One gradient step on `loss`; returns the gradient norm before clipping. A parameter without a gradient does not change.
    ///
    /// # Errors
    /// When the gradient is not finite; the parameters are then unchanged.
    pub fn descend(&mut self, params: &Params, loss: &Tensor) -> Result<f64> {
        let [norm] = Self::descend_together([(self, params)], loss)?;
        Ok(norm)
    }

    /// The same for optimisers that share a loss, each with its own parameters, clipping and norm.
    ///
    /// # Errors
    /// When a gradient is not finite; the parameters of that optimiser and of those after it are then unchanged.
    pub fn descend_together<const N: usize>(trained: [(&mut Self, &Params); N], loss: &Tensor) -> Result<[f64; N]> {
        let tensors = trained.iter().flat_map(|(_, params)| params.iter());
        let tensors: Vec<&Tensor> = tensors.map(|(_, var)| var.as_tensor()).collect();
        let (of_others, collected) = collect_param_grads(&tensors, || loss.backward());
        let of_others = of_others?;
        let both = tensors.iter().zip(collected).map(|(parameter, collected)| {
            Ok(match (collected, of_others.get(parameter)) {
                (Some(collected), Some(other)) => Some(Gradient::Dense((collected.dense(parameter)? + other)?)),
                (collected, other) => collected.or_else(|| other.cloned().map(Gradient::Dense)),
            })
        });
        let mut gradients = both.collect::<Result<Vec<_>>>()?.into_iter();
        let mut norms = [0.0; N];
        for ((adam, params), norm) in trained.into_iter().zip(&mut norms) {
            *norm = adam.step(params, gradients.by_ref().take(params.iter().count()).collect())?;
        }
        Ok(norms)
    }

    /// Counts a step along gradients of that norm, and returns its coefficients: for steps that the caller takes.
    ///
    /// # Errors
    /// When the norm is not finite.
    pub fn next_rates(&mut self, norm: f64) -> Result<Rates> {
        ensure!(norm.is_finite(), "the gradient is not finite\nhelp: lower `optimizer.learning_rate`");
        self.step += 1;
        Ok(Rates {
            scale: if norm > self.max_grad_norm { self.max_grad_norm / norm } else { 1.0 },
            betas: BETAS,
            corrections: BETAS.map(|beta| 1.0 / (1.0 - beta.powi(self.step as i32))),
            epsilon: EPSILON,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
        })
    }

    /// One step along gradients in the order of `params`.
    fn step(&mut self, params: &Params, gradients: Vec<Option<Gradient>>) -> Result<f64> {
        let norm = norm(gradients.iter().flatten().map(Gradient::values))?;
        let rates = self.next_rates(norm)?;
        for ((name, var), gradient) in params.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let own = self.moments.get_mut(name).context("the optimiser was made for other parameters")?;
            own.step(var, gradient, rates, self.sparse_rows)?;
        }
        Ok(norm)
    }

    /// The state as arrays, `m.<name>` and `v.<name>`, with the step count as `step`.
    pub fn export(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = BTreeMap::from([("step".to_owned(), Array::new(&[1], vec![self.step as f32]))]);
        for (name, own) in &self.moments {
            let [mean, square] = own.export()?;
            state.insert(format!("m.{name}"), mean);
            state.insert(format!("v.{name}"), square);
        }
        Ok(state)
    }

    /// Restores what [`AdamW::export`] gave.
    pub fn import(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        let get = |name: &str| state.get(name).with_context(|| format!("no optimiser state `{name}`"));
        self.step = get("step")?.data[0] as u32;
        for (name, own) in &mut self.moments {
            let both = [format!("m.{name}"), format!("v.{name}")];
            for which in &both {
                let (found, wanted) = (&get(which)?.shape, &own.shape);
                ensure!(found == wanted, "`{which}` is {found:?} in the state and {wanted:?} here");
            }
            own.import([get(&both[0])?, get(&both[1])?])?;
        }
        Ok(())
    }
}

/// √Σ x² over all gradients. Gradients on a GPU are summed there, with one synchronisation.
fn norm<'g>(gradients: impl Iterator<Item = &'g Tensor>) -> Result<f64> {
    let (mut squares, mut elsewhere) = (0.0, Vec::new());
    for gradient in gradients {
        squares += match (gradient.device(), gradient.dtype()) {
            (Device::Cpu, DType::F64) => with_slices::<f64, _, 1>([gradient], |[all]| sum_of_squares(all))?,
            (Device::Cpu, _) => with_slices::<f32, _, 1>([gradient], |[all]| sum_of_squares(all))?,
            _ => {
                elsewhere.push(reference::sum_of_squares(gradient)?.to_dtype(DType::F64)?);
                0.0
            }
        };
    }
    if !elsewhere.is_empty() {
        squares += Tensor::stack(&elsewhere, 0)?.sum_all()?.to_scalar::<f64>()?;
    }
    Ok(squares.sqrt())
}

fn in_f32(moment: &CpuStorage) -> Result<Vec<f32>> {
    Ok(match moment {
        CpuStorage::F64(all) => all.iter().map(|&x| x as f32).collect(),
        all => f32::cpu_storage_as_slice(all)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;

    fn one_parameter(value: f64) -> (Params, Tensor) {
        let mut params = Params::default();
        let tensor = params.add("x", &Tensor::new(&[value], &Device::Cpu).unwrap()).unwrap();
        (params, tensor)
    }

    fn value(params: &Params) -> f64 {
        params.iter().next().unwrap().1.to_vec1::<f64>().unwrap()[0]
    }

    #[test]
    fn two_steps_agree_with_hand_computed_values() {
        // loss = x², x = 1: g = 2, m̂ = 2, v̂ = 4, update = 1 → x = 1 − 0.1·(1 + 0.01·1) = 0.899.
        let (params, x) = one_parameter(1.0);
        let mut adam = AdamW::new(&params, 0.1, 0.01, f64::INFINITY).unwrap();
        adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert!((value(&params) - 0.899).abs() < 1e-8, "{}", value(&params));
        // g = 1.798; m = 0.1·2·0.9 + 0.1·1.798 = 0.3598, m̂ = 0.3598/0.19; v = 0.004·0.999 + 0.001·1.798², v̂ = v/0.001999.
        let m = 0.3598 / 0.19;
        let v: f64 = (0.004 * 0.999 + 0.001 * 1.798_f64.powi(2)) / 0.001_999;
        let expected = 0.899 - 0.1 * (m / v.sqrt() + 0.01 * 0.899);
        adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert!((value(&params) - expected).abs() < 1e-7, "{} {expected}", value(&params));
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_refused_and_changes_nothing() {
        let (params, x) = one_parameter(1.0);
        let mut adam = AdamW::new(&params, 0.1, 0.0, 1.0).unwrap();
        let error = adam.descend(&params, &(x * f64::INFINITY).unwrap().sum_all().unwrap()).unwrap_err().to_string();
        assert!(error.contains("not finite") && error.contains("learning_rate"), "{error}");
        assert!((value(&params) - 1.0).abs() < 1e-15);
    }

    /// Against the same step composed of tensor operations, in f32 and over more numbers than one thread takes.
    #[test]
    fn a_step_in_place_is_the_composed_one_on_any_number_of_threads() {
        let (mut params, shape) = (Params::default(), [300, 257]);
        let x = params.add("x", &Init::new(1).normal(&shape, 1.0).unwrap()).unwrap();
        let (g, before) = (Init::new(2).normal(&shape, 1.0).unwrap(), x.copy().unwrap());
        let with = |threads: usize| {
            params.iter().for_each(|(_, var)| var.set(&before).unwrap());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut adam = AdamW::new(&params, 0.1, 0.01, 1.0).unwrap();
                adam.descend(&params, &(&x * &g).unwrap().sum_all().unwrap()).unwrap()
            })
        };
        let norm = with(1);
        let found = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // m̂ = g/norm, v̂ = (g/norm)².
        let g = (&g / norm).unwrap();
        let update = (&g / (g.abs().unwrap() + EPSILON).unwrap()).unwrap();
        let wanted = (&before - ((update + (&before * 0.01).unwrap()).unwrap() * 0.1).unwrap()).unwrap();
        let wanted = wanted.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!(with(3).to_bits(), norm.to_bits());
        assert_eq!(x.flatten_all().unwrap().to_vec1::<f32>().unwrap(), found);
    }

    /// Two steps with other rows, so that moments of unused rows would show.
    #[test]
    fn steps_of_used_rows_are_those_that_are_composed() {
        let start = Init::new(1).normal(&[4, 3], 1.0).unwrap();
        let steps = [(vec![2_u32, 0, 2], 2), (vec![1, 1, 0], 3)].map(|(ids, seed)| {
            let ids = Tensor::new(ids, &Device::Cpu).unwrap();
            (ids, Init::new(seed).normal(&[3, 3], 1.0).unwrap())
        });
        let (mut params, mut others) = (Params::default(), Params::default());
        let (table, other) = (params.add("x", &start).unwrap(), others.add("x", &start).unwrap());
        let mut adam = AdamW::new(&params, 0.1, 0.01, f64::INFINITY).unwrap().with_sparse_rows();
        let zeros = || start.zeros_like().unwrap();
        let mut gpu = ParamState { shape: vec![4, 3], moments: MomentStorage::Gpu([zeros(), zeros()]) };
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (step, (ids, weights)) in steps.iter().enumerate() {
            let found = crate::nn::kernels::embedding(&table, ids).unwrap();
            adam.descend(&params, &(found * weights).unwrap().sum_all().unwrap()).unwrap();
            let corrections = BETAS.map(|beta| 1.0 / (1.0 - beta.powi(step as i32 + 1)));
            let rates = Rates {
                scale: 1.0,
                betas: BETAS,
                corrections,
                epsilon: EPSILON,
                learning_rate: 0.1,
                weight_decay: 0.01,
            };
            let var = others.iter().next().unwrap().1;
            gpu.step(var, Gradient::row_masked(ids, weights, &other).unwrap(), rates, true).unwrap();
            let (mine, composed) = (flat(&table), flat(&other));
            assert!(mine.iter().zip(&composed).all(|(a, b)| (a - b).abs() < 1e-6), "{mine:?} {composed:?}");
            assert_eq!(composed[9..], flat(&start)[9..], "the last row was never used");
        }
        let [found, wanted] = [gpu.export().unwrap(), adam.moments["x"].export().unwrap()];
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(found.data.iter().zip(&wanted.data).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {wanted:?}");
        }
    }

    /// More rows than one thread takes; in a first step the rows that are used go where a step of the whole table takes them.
    #[test]
    fn many_used_rows_are_shared_by_the_threads_and_the_others_stay() {
        let (start, weights) =
            (Init::new(1).normal(&[3000, 33], 1.0).unwrap(), Init::new(2).normal(&[1500, 33], 1.0).unwrap());
        let ids: Vec<u32> = (0..1500).map(|k| k * 7 % 3000).collect();
        let stepped = |sparse_rows: bool, threads: usize| {
            let mut params = Params::default();
            let table = params.add("x", &start).unwrap();
            let adam = AdamW::new(&params, 0.1, 0.01, f64::INFINITY).unwrap();
            let mut adam = if sparse_rows { adam.with_sparse_rows() } else { adam };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let ids = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap();
                let found = crate::nn::kernels::embedding(&table, &ids).unwrap();
                adam.descend(&params, &(found * &weights).unwrap().sum_all().unwrap()).unwrap();
            });
            (table.to_vec2::<f32>().unwrap(), adam.export().unwrap())
        };
        let (one, dense, before) = (stepped(true, 1), stepped(false, 1).0, start.to_vec2::<f32>().unwrap());
        assert!(stepped(true, 3) == one, "threads change no bit, of the table or of its moments");
        for (row, found) in one.0.iter().enumerate() {
            let wanted = if ids.contains(&(row as u32)) { &dense[row] } else { &before[row] };
            assert_eq!(found, wanted, "row {row}");
        }
    }

    #[test]
    fn optimisers_that_share_a_loss_step_as_each_would_alone() {
        let after = |first: bool, second: bool| {
            let ((one, x), (other, y)) = (one_parameter(2.0), one_parameter(3.0));
            let adam = |params: &Params, rate| AdamW::new(params, rate, 0.0, f64::INFINITY).unwrap();
            let (mut adam_x, mut adam_y) = (adam(&one, 0.1), adam(&other, 0.2));
            let loss = (x.sqr().unwrap() * &y).unwrap().sum_all().unwrap();
            // 2xy and x².
            match (first, second) {
                (true, true) => {
                    let norms = AdamW::descend_together([(&mut adam_x, &one), (&mut adam_y, &other)], &loss).unwrap();
                    assert_eq!(norms, [12.0, 4.0]);
                }
                (true, false) => assert_eq!(adam_x.descend(&one, &loss).unwrap(), 12.0),
                _ => assert_eq!(adam_y.descend(&other, &loss).unwrap(), 4.0),
            }
            [value(&one), value(&other)]
        };
        let together = after(true, true);
        assert_eq!(together, [after(true, false)[0], after(false, true)[1]]);
        assert!((together[0] - 1.9).abs() < 1e-7 && (together[1] - 2.8).abs() < 1e-7, "{together:?}");
    }

    #[test]
    fn a_restored_optimiser_goes_on_exactly() {
        let run = |restore: bool| {
            let (params, x) = one_parameter(1.0);
            let mut adam = AdamW::new(&params, 0.1, 0.0, 0.5).unwrap();
            for k in 0..6 {
                if restore && k == 3 {
                    let state = adam.export().unwrap();
                    adam = AdamW::new(&params, 0.1, 0.0, 0.5).unwrap();
                    adam.import(&state).unwrap();
                }
                adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
            }
            value(&params)
        };
        assert!((run(true) - run(false)).abs() < 1e-6);
    }
}
