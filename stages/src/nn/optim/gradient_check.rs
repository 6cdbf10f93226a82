//! Assertions for tests: every parameter receives a gradient, and each gradient is the derivative.

use candle_core::{DType, Result, Tensor, Var};

use crate::nn::{Init, Params};

/// Fails unless every parameter receives a gradient that is not all zero.
pub fn assert_every_parameter_learns(params: &Params, loss: impl Fn() -> Result<Tensor>) {
    let gradients = loss().unwrap().backward().unwrap();
    for (name, var) in params.iter() {
        let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("`{name}` receives no gradient"));
        let size = gradient.abs().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
        assert!(size > 0.0 && size.is_finite(), "`{name}` receives a gradient of size {size}");
    }
}

/// Fails unless the gradient of `loss` at `x` agrees with central differences in f64, relative error < 1e-5.
pub fn assert_finite_differences(x: &Tensor, loss: impl Fn(&Tensor) -> Result<Tensor>) {
    let x = Var::from_tensor(&x.to_dtype(DType::F64).unwrap()).unwrap();
    let gradients = loss(x.as_tensor()).unwrap().backward().unwrap();
    let gradient: Vec<f64> = gradients.get(x.as_tensor()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let start: Vec<f64> = x.flatten_all().unwrap().to_vec1().unwrap();
    let at = |values: Vec<f64>| {
        let moved = Tensor::from_vec(values, x.shape(), x.device()).unwrap();
        loss(&moved).unwrap().to_scalar::<f64>().unwrap()
    };
    assert_agrees("the input", &gradient, &start, at);
}

/// Fails unless the gradient of `loss` at every parameter agrees with central differences; for `Params::in_f64`.
pub fn assert_parameters_are_exact(params: &Params, loss: impl Fn() -> Result<Tensor>) {
    let gradients = loss().unwrap().backward().unwrap();
    for (name, var) in params.iter() {
        let values = |tensor: &Tensor| -> Vec<f64> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
        let start = values(var.as_tensor());
        let at = |moved: Vec<f64>| {
            var.set(&Tensor::from_vec(moved, var.shape(), var.device()).unwrap()).unwrap();
            loss().unwrap().to_scalar::<f64>().unwrap()
        };
        assert_agrees(name, &values(gradients.get(var.as_tensor()).unwrap()), &start, at);
        at(start.clone());
    }
}

/// Fails unless both functions of tensors in f64 have the same values, and the same gradients of a weighted sum of them.
pub fn assert_same_gradients<const N: usize>(
    tensors: &[Tensor; N],
    kernel: impl Fn([&Tensor; N]) -> Result<Tensor>,
    reference: impl Fn([&Tensor; N]) -> Result<Tensor>,
) {
    let vars: Vec<Var> = tensors.iter().map(|tensor| Var::from_tensor(tensor).unwrap()).collect();
    let given: [&Tensor; N] = std::array::from_fn(|k| vars[k].as_tensor());
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let all = |found: Tensor| {
        let weights = Init::new(9).normal(found.dims(), 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let gradients = (&found * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let of = |var: &Var| flat(gradients.get(var.as_tensor()).expect("each has a gradient"));
        (found.dims().to_vec(), [vec![flat(&found)], vars.iter().map(of).collect()].concat())
    };
    let ((kernel_shape, kernel), (reference_shape, reference)) =
        (all(kernel(given).unwrap()), all(reference(given).unwrap()));
    assert_eq!(kernel_shape, reference_shape);
    for (which, (kernel, reference)) in kernel.iter().zip(&reference).enumerate() {
        assert_eq!(kernel.len(), reference.len());
        for (k, (a, b)) in kernel.iter().zip(reference).enumerate() {
            let error = (a - b).abs() / a.abs().max(b.abs()).max(1.0);
            assert!(error < 1e-10, "values (0) or gradient {which}, element {k}: {a} fused, {b} plain");
        }
    }
}

fn assert_agrees(what: &str, gradient: &[f64], start: &[f64], at: impl Fn(Vec<f64>) -> f64) {
    let h = 1e-5;
    for (k, analytic) in gradient.iter().enumerate() {
        let (mut up, mut down) = (start.to_vec(), start.to_vec());
        up[k] += h;
        down[k] -= h;
        let numeric = (at(up) - at(down)) / (2.0 * h);
        let error = (numeric - analytic).abs() / numeric.abs().max(analytic.abs()).max(1e-3);
        assert!(error < 1e-5, "{what}, element {k}: {analytic} by the graph, {numeric} by differences");
    }
}
