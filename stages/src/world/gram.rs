//! Products of columns, and symmetric tables of them, a tile at a time on all threads.
//!
//! A whole product of f64 would be the largest thing in memory by far: at 13,864 items it is twice the table that it is made for.

use std::ops::Range;

use anyhow::Result;
use candle_core::{Device, Tensor};
use pipeline::memory_need::zeros;
use pipeline::progress::Bar;
use pipeline::{Context, MemoryNeed};
use rayon::prelude::*;

/// Columns of a tile, at most.
const SIDE: usize = 256;

/// Rows that one product takes, so that what a tile holds in memory does not grow with the log.
const ROWS: usize = 16_384;

/// Even shares of `columns`. Where there are several, none is below half of [`SIDE`]: the kernel goes another way for products of few
/// rows and columns, and rounds otherwise.
fn tiles(columns: usize) -> Vec<Range<usize>> {
    let count = columns.div_ceil(SIDE);
    (0..count).map(|k| k * columns / count..(k + 1) * columns / count).collect()
}

/// Columns of a matrix with so many `rows`, as f64: `of(rows, columns)` gives a part of it, row by row, in a vector of that capacity.
pub(super) struct Columns<F> {
    pub rows: usize,
    pub of: F,
}

impl<F: Fn(Range<usize>, Range<usize>) -> Vec<f64>> Columns<F> {
    /// The products of the columns `left` with the columns `right`, `[left, right]`: sums over the rows in the kernel's order, which
    /// depends on nothing but their number.
    pub(super) fn products(&self, left: &Range<usize>, right: &Range<usize>) -> Result<Vec<f64>> {
        let mut sums: Vec<f64> = Vec::new();
        for first in (0..self.rows).step_by(ROWS) {
            let rows = first..(first + ROWS).min(self.rows);
            let part = |columns: &Range<usize>| {
                let values = (self.of)(rows.clone(), columns.clone());
                Tensor::from_vec(values, (rows.len(), columns.len()), &Device::Cpu)
            };
            let some = part(left)?.t()?.matmul(&part(right)?)?.flatten_all()?.to_vec1::<f64>()?;
            if sums.is_empty() {
                sums = some;
            } else {
                sums.iter_mut().zip(some).for_each(|(sum, x)| *sum += x);
            }
        }
        sums.resize(left.len() * right.len(), 0.0);
        Ok(sums)
    }

    /// The product of each of `columns` columns with itself.
    pub(super) fn squares(&self, columns: usize, cx: &Context) -> Result<Vec<f64>>
    where
        F: Sync,
    {
        let check_cancelled = cx.check_cancelled_from_now();
        let squares = |tile: &Range<usize>| {
            check_cancelled()?;
            let products = self.products(tile, tile)?;
            Ok((0..tile.len()).map(|k| products[k * tile.len() + k]).collect::<Vec<_>>())
        };
        Ok(tiles(columns).par_iter().map(squares).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// What tiles take that are computed at once: on each thread that has a band of them two parts of `rows` and as many columns as a tile has,
/// and their product.
pub(super) fn at_once(need: MemoryNeed, rows: u64, columns: u64) -> MemoryNeed {
    let (side, bands) = (columns.min(SIDE as u64), columns.div_ceil(SIDE as u64));
    let threads = bands.min(rayon::current_num_threads() as u64);
    let shape = [threads, 2 * rows.min(ROWS as u64) + 2 * side, side];
    need.table("tiles of the table, threads × rows × columns", &shape, 8)
}

/// How many pairs `count` things make.
pub(super) fn pairs(count: usize) -> u64 {
    let count = count as u64;
    count * count.saturating_sub(1) / 2
}

/// A symmetric table, `[N, N]`, of what `tile` says of some rows and some columns, row by row, and nothing on the diagonal. Each tile is
/// asked for once, for the pair or for its mirror; `bar` moves by the pairs.
pub(super) fn symmetric<T: Copy + Default + Send + Sync>(
    count: usize,
    bar: &Bar,
    cx: &Context,
    tile: impl Fn(&Range<usize>, &Range<usize>) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    let tiles = tiles(count);
    let mut table = zeros::<T>(&format!("{count} × {count}, each row with each"), count * count)?;
    let check_cancelled = cx.check_cancelled_from_now();
    let mut bands = Vec::new();
    let mut rest = table.as_mut_slice();
    for (k, rows) in tiles.iter().enumerate() {
        let (band, others) = rest.split_at_mut(rows.len() * count);
        bands.push((k, rows, band));
        rest = others;
    }
    bands.into_par_iter().try_for_each(|(k, rows, band)| {
        for columns in &tiles[..=k] {
            check_cancelled()?;
            let values = tile(rows, columns)?;
            for (row, values) in band.chunks_exact_mut(count).zip(values.chunks_exact(columns.len())) {
                row[columns.clone()].copy_from_slice(values);
            }
            bar.inc(if columns == rows { pairs(rows.len()) } else { (rows.len() * columns.len()) as u64 });
        }
        anyhow::Ok(())
    })?;
    mirror(&mut table, count, &tiles);
    table.iter_mut().step_by(count + 1).for_each(|own| *own = T::default());
    Ok(table)
}

/// Copies what lies below the bands on the diagonal to the right of them.
fn mirror<T: Copy + Send + Sync>(table: &mut [T], count: usize, tiles: &[Range<usize>]) {
    /// Rows that are filled together: what one read of memory brings.
    const TOGETHER: usize = 16;
    for tile in tiles {
        let (above, below) = table.split_at_mut(tile.end * count);
        let band = &mut above[tile.start * count..];
        band.par_chunks_mut(TOGETHER * count).enumerate().for_each(|(k, rows)| {
            let first = tile.start + k * TOGETHER;
            for (column, source) in (tile.end..count).zip(below.chunks_exact(count)) {
                for (row, &value) in rows.chunks_exact_mut(count).zip(&source[first..]) {
                    row[column] = value;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    #[test]
    fn tiles_cover_all_and_are_never_thin() {
        for columns in [0, 1, 2, 255, 256, 257, 258, 511, 513, 1000, 13_864] {
            let tiles = tiles(columns);
            assert!(tiles.iter().map(Range::len).sum::<usize>() == columns && tiles.iter().all(|t| t.len() <= SIDE));
            assert!(tiles.len() < 2 || tiles.iter().all(|tile| tile.len() >= SIDE / 2), "{columns}");
            assert!(tiles.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[test]
    fn tiles_are_those_of_the_whole_product_to_the_bit() {
        // More rows than one panel of the kernel takes, more columns than one tile; few of both; a single one.
        for (rows, columns) in [(1300, 300), (700, 257), (3, 64), (600, 65), (2, 5), (1, 3), (5, 1)] {
            let matrix = crate::nn::Init::new(7).normal(&[rows, columns], 1.7).unwrap().to_dtype(DType::F64).unwrap();
            let whole: Vec<f64> =
                matrix.t().unwrap().matmul(&matrix).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let values: Vec<f64> = matrix.flatten_all().unwrap().to_vec1().unwrap();
            let of = |some: Range<usize>, wanted: Range<usize>| -> Vec<f64> {
                some.flat_map(|row| values[row * columns..][wanted.clone()].to_vec()).collect()
            };
            let source = Columns { rows, of };
            let found = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let tile = |left: &Range<usize>, right: &Range<usize>| source.products(left, right);
                pool.install(|| symmetric(columns, &cx().bar("x", None, "pairs"), &cx(), tile)).unwrap()
            };
            for threads in [1, 2, 16] {
                let found = found(threads);
                assert_eq!(found.len(), whole.len());
                let same = |k: usize| k.is_multiple_of(columns + 1) || found[k].to_bits() == whole[k].to_bits();
                assert!((0..whole.len()).all(same), "{rows} {columns}");
            }
            let squares = source.squares(columns, &cx()).unwrap();
            assert!((0..columns).all(|k| squares[k].to_bits() == whole[k * columns + k].to_bits()));
        }
    }

    #[test]
    fn many_rows_are_summed_in_parts() {
        let rows = ROWS + 3;
        let source = Columns {
            rows,
            of: |rows: Range<usize>, columns: Range<usize>| {
                rows.flat_map(|row| columns.clone().map(move |column| (row % 5 + column) as f64)).collect()
            },
        };
        let wanted = |i: usize, j: usize| (0..rows).map(|row| ((row % 5 + i) * (row % 5 + j)) as f64).sum::<f64>();
        let found = source.products(&(0..2), &(1..3)).unwrap();
        assert_eq!(found, [wanted(0, 1), wanted(0, 2), wanted(1, 1), wanted(1, 2)]);
    }

    #[test]
    fn a_table_stops_when_it_is_asked_to() {
        let cx = cx();
        let tile = |left: &Range<usize>, right: &Range<usize>| {
            cx.interrupt();
            Ok(vec![0.0_f32; left.len() * right.len()])
        };
        let table = || symmetric(600, &cx.bar("x", None, "pairs"), &cx, tile);
        assert!(table().unwrap_err().is::<pipeline::Interrupted>());
        assert!(table().is_ok(), "what was raised before is for those who save something");
    }
}
