//! Matrix products in blocks that the threads of the pool share.
//!
//! Candle computes a product on one thread, or on threads that spin while others train (here it is limited to one). Here the longer side
//! of the result is divided into blocks at borders that depend on the shape only, and each block is one call of the `gemm` kernels that
//! candle uses: the bits are equal on any number of threads, and a busy pool loses no time.
//!
//! Rejected: blocks along the inner dimension, whose sums would have to be added, and blocks of the shorter side, for each of which
//! the larger matrix would be packed again.
#![expect(
    unsafe_code,
    reason = "the kernels take pointers, and blocks of columns are not slices of a row-major matrix"
)]

use candle_core::Result;
use gemm::Parallelism;
use rayon::prelude::*;

use super::{Float, with_simd};

/// A matrix view of numbers.
#[derive(Clone, Copy)]
pub struct Matrix<'s, T> {
    all: &'s [T],
    rows: usize,
    columns: usize,
    /// From a row to the next, and from a column to the next.
    strides: [usize; 2],
}

impl<'s, T> Matrix<'s, T> {
    /// `all [rows, columns]`, row by row.
    ///
    /// # Errors
    /// When there are more or fewer numbers.
    pub fn new(all: &'s [T], rows: usize, columns: usize) -> Result<Self> {
        if all.len() != rows * columns {
            candle_core::bail!("{} numbers are no matrix of {rows} × {columns}", all.len());
        }
        Ok(Self { all, rows, columns, strides: [columns, 1] })
    }

    /// Columns as rows.
    #[must_use]
    pub fn t(self) -> Self {
        let [row, column] = self.strides;
        Self { rows: self.columns, columns: self.rows, strides: [column, row], ..self }
    }
}

/// Multiply-adds that are worth a thread, and those beyond which there are more blocks than four.
const PART: usize = 1 << 23;
const LARGE: usize = 1 << 25;

/// How many numbers of the longer side are a block.
fn block(rows: usize, columns: usize, inner: usize) -> usize {
    let work = rows * columns * inner;
    let parts = (work / PART).min(4).max((work / LARGE).min(16)).max(1);
    // Whole registers, and enough of them that the other matrix is worth its packing.
    rows.max(columns).div_ceil(parts).next_multiple_of(BLOCK_LANES)
}

/// What blocks are multiples of.
const BLOCK_LANES: usize = 64;

/// Both, beside each other where each is of enough `multiply_adds` for a thread: to wait for one that has other things to do costs
/// more than a small product.
pub fn both<A: Send, B: Send>(
    multiply_adds: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    if multiply_adds < PART { (one(), other()) } else { rayon::join(one, other) }
}

/// `a [M, K]` · `b [K, N]`, row by row in `out [M·N]`, whatever was there.
///
/// # Errors
/// When the sizes do not fit.
pub fn matmul_into<T: Float>(a: Matrix<T>, b: Matrix<T>, out: &mut [T]) -> Result<()> {
    write(a, b, &OutPtr(out.as_mut_ptr()), out.len(), |_, _, _| ())
}

/// `a [M, K]` · `b [K, N]`, row by row.
///
/// # Errors
/// When the sizes do not fit.
pub fn matmul<T: Float>(a: Matrix<T>, b: Matrix<T>) -> Result<Vec<T>> {
    matmul_with(a, b, |_, _, _| ())
}

/// The same, and each thread hands the rows of its block to `finish(row, first column, numbers)` while they are at hand.
///
/// # Errors
/// When the sizes do not fit.
pub fn matmul_with<T: Float>(
    a: Matrix<T>,
    b: Matrix<T>,
    finish: impl Fn(usize, usize, &mut [T]) + Sync,
) -> Result<Vec<T>> {
    // Not filled with zeros first, which one thread would do, and over memory that is often fresh.
    let count = a.rows * b.columns;
    let mut out = Vec::with_capacity(count);
    write(a, b, &OutPtr(out.as_mut_ptr()), count, finish)?;
    // SAFETY: there is room for them, and the blocks have written each.
    unsafe { out.set_len(count) };
    Ok(out)
}

/// The product where `out` begins, which has room for `room` numbers.
fn write<T: Float>(
    a: Matrix<T>,
    b: Matrix<T>,
    out: &OutPtr<T>,
    room: usize,
    finish: impl Fn(usize, usize, &mut [T]) + Sync,
) -> Result<()> {
    let (rows, columns, inner) = (a.rows, b.columns, a.columns);
    if b.rows != inner || room != rows * columns {
        candle_core::bail!("{rows} × {inner} times {} × {columns} does not make {room} numbers", b.rows);
    }
    if room == 0 {
        return Ok(());
    }
    let (size, longer) = (block(rows, columns, inner), rows.max(columns));
    let work = |k: usize| {
        let (from, count) = (k * size, size.min(longer - k * size));
        let (first_row, first_column, height, width) =
            if rows > columns { (from, 0, count, columns) } else { (0, from, rows, count) };
        // SAFETY: `out` has room for rows × columns numbers, of which each block writes its own rows or its own columns and nobody else
        // reads or writes them meanwhile; `Matrix` has checked that its slice holds all of its rows and columns.
        unsafe {
            let out = out.at(first_row * columns + first_column);
            gemm::gemm(
                height,
                width,
                inner,
                out,
                1,
                columns as isize,
                false,
                a.all.as_ptr().add(first_row * a.strides[0]),
                a.strides[1] as isize,
                a.strides[0] as isize,
                b.all.as_ptr().add(first_column * b.strides[1]),
                b.strides[1] as isize,
                b.strides[0] as isize,
                T::zero(),
                T::one(),
                false,
                false,
                false,
                Parallelism::None,
            );
            with_simd(
                #[inline(always)]
                || {
                    for row in 0..height {
                        let numbers = std::slice::from_raw_parts_mut(out.add(row * columns), width);
                        finish(first_row + row, first_column, numbers);
                    }
                },
            );
        }
    };
    match longer.div_ceil(size) {
        1 => work(0),
        blocks => (0..blocks).into_par_iter().with_max_len(1).for_each(work),
    }
    Ok(())
}

/// Where a result begins, for threads that write other parts of it.
struct OutPtr<T>(*mut T);

// SAFETY: threads write parts that do not overlap, see above.
unsafe impl<T: Send> Sync for OutPtr<T> {}

impl<T> OutPtr<T> {
    /// # Safety
    /// `offset` lies in what the pointer was made from.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: as the caller says.
        unsafe { self.0.add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    fn values(seed: u64, count: usize) -> Vec<f32> {
        Init::new(seed).normal(&[count], 1.0).unwrap().to_vec1().unwrap()
    }

    /// Shapes that are one block, blocks of rows, blocks of columns, and blocks that end before they are full.
    #[test]
    fn products_are_exact_and_threads_change_no_bit() {
        for (m, n, k) in [(3, 5, 2), (1, 7, 4), (700, 90, 300), (256, 1000, 130), (129, 1, 70), (65, 1030, 600)] {
            let (a, b) = (values(1, m * k), values(2, k * n));
            // Both ways that a matrix can lie.
            let turned: Vec<f32> = (0..k * n).map(|at| b[(at % k) * n + at / k]).collect();
            let with = |threads: usize, b: Matrix<f32>| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let add = |_: usize, column: usize, row: &mut [f32]| {
                    row.iter_mut().enumerate().for_each(|(at, z)| *z += (column + at) as f32);
                };
                pool.install(|| matmul_with(Matrix::new(&a, m, k).unwrap(), b, add)).unwrap()
            };
            let found = with(1, Matrix::new(&b, k, n).unwrap());
            for threads in [2, 3] {
                assert_eq!(with(threads, Matrix::new(&b, k, n).unwrap()), found, "{m} × {n} × {k}");
            }
            let across = with(3, Matrix::new(&turned, n, k).unwrap().t());
            for (at, (z, other)) in found.iter().zip(&across).enumerate() {
                let (row, column) = (at / n, at % n);
                let sum: f64 = (0..k).map(|i| f64::from(a[row * k + i]) * f64::from(b[i * n + column])).sum();
                let error = (f64::from(*z) - sum - column as f64).abs();
                assert!(error < 1e-3 && (z - other).abs() < 1e-3, "{m} × {n} × {k}, {row}, {column}: {z}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let (four, six) = ([0.0_f32; 4], [0.0_f32; 6]);
        let (a, b) = (Matrix::new(&four, 2, 2).unwrap(), Matrix::new(&six, 2, 3).unwrap());
        matmul_into(a, b, &mut [0.0; 6]).unwrap();
        assert!(matmul_into(a, b, &mut [0.0; 5]).is_err() && matmul(a, b.t()).is_err());
        let none = Matrix::new(&four[..0], 2, 0).unwrap();
        assert_eq!(matmul(none, Matrix::new(&four[..0], 0, 3).unwrap()).unwrap(), [0.0; 6]);
        assert!(Matrix::new(&four, 2, 3).is_err());
    }
}
