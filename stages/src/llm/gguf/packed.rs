//! Quantised weights in the layout of [`matmul`](super::matmul), which dequantises only the block that it multiplies.
//!
//! Rows form panels of 32. In a panel the numbers of one column are contiguous, so that one vector holds the factors of one input.
//! A word holds eight columns of 4 bits, four of 8 bits or two of 16 bits. Scales and mins are kept as the file stores them
//! ([`scales`](super::scales)), so that a 4-bit or 8-bit model takes little more memory than its file.

use anyhow::{Result, ensure};
use candle_core::quantized::GgmlDType;

use super::quant_formats::{QuantFormat, Row};
use super::scale_form::float16;
use super::scales::{PANEL, Scales};

/// The weights `[rows, columns]` of a linear map.
pub(in crate::llm) struct Packed {
    pub rows: usize,
    pub columns: usize,
    store: Store,
}

enum Store {
    Grouped(Grouped),
    /// Two bfloat16 per word.
    Bfloat16 {
        words: Vec<u32>,
    },
    /// Two float16 per word.
    Float16 {
        words: Vec<u32>,
    },
    Full(Vec<f32>),
}

/// Whole numbers with a scale and a min per group of columns.
pub(super) struct Grouped {
    /// Of a number: 4, unsigned, or 8, signed.
    pub bits: usize,
    /// Columns of a group.
    pub group: usize,
    pub words: Vec<u32>,
    pub scales: Scales,
}

impl Packed {
    /// Reads `rows` rows of `format` from `next`, which gives their bytes one by one.
    ///
    /// # Errors
    /// As `next`; when whole blocks do not make up a row; when a scale is no finite number.
    pub(super) fn grouped(
        rows: usize,
        columns: usize,
        format: QuantFormat,
        mut next: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<Self> {
        let QuantFormat { bits, group, .. } = format;
        let (padded, groups, per_word) = (rows.next_multiple_of(PANEL), columns / group, 32 / bits);
        let row_bytes = format.row_bytes(columns);
        let mut bytes = vec![0; row_bytes.unwrap_or(0)];
        ensure!(row_bytes.is_some(), "{columns} weights a row are no whole number of blocks");
        let mut words = vec![0_u32; padded * columns / per_word];
        let mut scales = Scales::new(format, padded / PANEL, groups);
        let mut row = Row::default();
        for index in 0..rows {
            next(&mut bytes)?;
            format.read(&bytes, &mut row);
            let (panel, lane) = (index / PANEL, index % PANEL);
            ensure!(scales.set(panel, lane, &row), "row {index} has a scale that is no finite number");
            for (at, quants) in row.quants.chunks_exact(per_word).enumerate() {
                let word = quants.iter().rev().fold(0, |word: u32, quant| word << bits | u32::from(*quant));
                words[(panel * columns / per_word + at) * PANEL + lane] = word;
            }
        }
        Ok(Self { rows, columns, store: Store::Grouped(Grouped { bits, group, words, scales }) })
    }

    /// Reads rows of 16-bit floats as `kind` stores them from `next`; `columns` is even.
    ///
    /// # Errors
    /// As `next`.
    pub(super) fn halves(
        rows: usize,
        columns: usize,
        kind: GgmlDType,
        mut next: impl FnMut(&mut [u16]) -> Result<()>,
    ) -> Result<Self> {
        let mut row = vec![0; columns];
        let mut words = vec![0_u32; rows.next_multiple_of(PANEL) * columns / 2];
        for index in 0..rows {
            next(&mut row)?;
            for (at, pair) in row.chunks_exact(2).enumerate() {
                let place = (index / PANEL * columns / 2 + at) * PANEL + index % PANEL;
                words[place] = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
        }
        let store = if kind == GgmlDType::BF16 { Store::Bfloat16 { words } } else { Store::Float16 { words } };
        Ok(Self { rows, columns, store })
    }

    /// Plain floats, rows one after the other.
    pub(in crate::llm) fn full(rows: usize, columns: usize, values: &[f32]) -> Self {
        let mut panels = vec![0.0; rows.next_multiple_of(PANEL) * columns];
        for (index, row) in values.chunks_exact(columns).enumerate() {
            for (at, value) in row.iter().enumerate() {
                panels[(index / PANEL * columns + at) * PANEL + index % PANEL] = *value;
            }
        }
        Self { rows, columns, store: Store::Full(panels) }
    }

    /// The weights as whole numbers, where the file has such.
    pub(super) fn as_grouped(&self) -> Option<&Grouped> {
        match &self.store {
            Store::Grouped(grouped) => Some(grouped),
            _ => None,
        }
    }

    /// How many columns [`Packed::expand`] can take at once: a multiple of this, or all that are left.
    pub(super) fn stride(&self) -> usize {
        match &self.store {
            Store::Grouped(grouped) => grouped.group,
            Store::Bfloat16 { .. } | Store::Float16 { .. } => 2,
            Store::Full(_) => 1,
        }
    }

    /// Writes the columns from `from` on of one panel to `out [columns, 32]`.
    ///
    /// Inlined into its caller, which chooses the instructions.
    #[inline(always)]
    pub(super) fn expand(&self, panel: usize, from: usize, out: &mut [f32]) {
        match &self.store {
            Store::Grouped(grouped) if grouped.bits == 4 => grouped.expand::<8>(self.columns, panel, from, out),
            Store::Grouped(grouped) => grouped.expand::<4>(self.columns, panel, from, out),
            Store::Bfloat16 { words } => self.expand_pairs(words, panel, from, out, bfloat16),
            Store::Float16 { words } => self.expand_pairs(words, panel, from, out, float16),
            Store::Full(values) => {
                out.copy_from_slice(&values[(panel * self.columns + from) * PANEL..][..out.len()]);
            }
        }
    }

    #[inline(always)]
    fn expand_pairs(&self, words: &[u32], panel: usize, from: usize, out: &mut [f32], float: impl Fn(u32) -> f32) {
        let words = &words[(panel * self.columns + from) / 2 * PANEL..][..out.len() / 2];
        for (words, out) in words.chunks_exact(PANEL).zip(out.chunks_exact_mut(2 * PANEL)) {
            let (even, odd) = out.split_at_mut(PANEL);
            for ((word, even), odd) in words.iter().zip(even).zip(odd) {
                (*even, *odd) = (float(word & 0xFFFF), float(word >> 16));
            }
        }
    }

    /// One row as floats, for a look-up.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        let (panel, lane) = (row / PANEL, row % PANEL);
        let place = |column: usize| (panel * self.columns + column) * PANEL + lane;
        let word = |words: &[u32], per_word: usize, column: usize| {
            let word = words[(panel * self.columns / per_word + column / per_word) * PANEL + lane];
            word >> (32 / per_word * (column % per_word))
        };
        let columns = 0..self.columns;
        match &self.store {
            Store::Grouped(Grouped { bits, group, words, scales }) => columns
                .map(|column| {
                    let number = word(words, 32 / bits, column);
                    let number = if *bits == 4 { (number & 15) as f32 } else { f32::from(number as i8) };
                    let (scale, min) = scales.one(panel * (self.columns / group) + column / group, lane);
                    number.mul_add(scale, min)
                })
                .collect(),
            Store::Bfloat16 { words } => columns.map(|column| bfloat16(word(words, 2, column) & 0xFFFF)).collect(),
            Store::Float16 { words } => columns.map(|column| float16(word(words, 2, column) & 0xFFFF)).collect(),
            Store::Full(values) => columns.map(|column| values[place(column)]).collect(),
        }
    }
}

impl Grouped {
    /// See [`Packed::expand`]; `PER_WORD` numbers stand in a word.
    #[inline(always)]
    fn expand<const PER_WORD: usize>(&self, columns: usize, panel: usize, from: usize, out: &mut [f32]) {
        let (group, bits) = (self.group, 32 / PER_WORD);
        for (at, out) in out.chunks_exact_mut(group * PANEL).enumerate() {
            let first = (panel * columns + from) / group + at;
            let (scale, min) = self.scales.panel(first);
            let words = &self.words[first * group / PER_WORD * PANEL..][..group / PER_WORD * PANEL];
            for (words, out) in words.chunks_exact(PANEL).zip(out.chunks_exact_mut(PER_WORD * PANEL)) {
                let words = array(words);
                for (column, out) in out.chunks_exact_mut(PANEL).enumerate() {
                    for (lane, out) in out.iter_mut().enumerate() {
                        let number = if PER_WORD == 8 {
                            (words[lane] >> (bits * column) & 15) as i32
                        } else {
                            (words[lane] << (32 - bits - bits * column)) as i32 >> (32 - bits)
                        };
                        *out = (number as f32).mul_add(scale[lane], min[lane]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn bfloat16(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

#[inline(always)]
fn array<T: Copy + Default>(values: &[T]) -> [T; PANEL] {
    let mut out = [T::default(); PANEL];
    out.copy_from_slice(&values[..PANEL]);
    out
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};
    use half::{bf16, f16};

    use super::*;
    use crate::nn::Init;

    /// 40 rows, so that a panel is not full.
    fn weights() -> Tensor {
        Init::new(3).normal(&[40, 64], 0.2).unwrap()
    }

    fn expanded(packed: &Packed) {
        for panel in 0..2 {
            let mut out = vec![0.0; (64 - 32) * PANEL];
            packed.expand(panel, 32, &mut out);
            for row in panel * PANEL..packed.rows.min((panel + 1) * PANEL) {
                let found: Vec<f32> = out.iter().skip(row % PANEL).step_by(PANEL).copied().collect();
                assert_eq!(found, packed.row(row)[32..], "row {row}");
            }
        }
    }

    #[test]
    fn rows_come_back() {
        let weights = weights();
        for kind in [GgmlDType::Q4_1, GgmlDType::Q8_0] {
            let stored = QTensor::quantize(&weights, kind).unwrap();
            let bytes = stored.data().unwrap();
            let mut rest = &bytes[..];
            let next = |row: &mut [u8]| {
                let (first, other) = rest.split_at(row.len());
                row.copy_from_slice(first);
                rest = other;
                Ok(())
            };
            let packed = Packed::grouped(40, 64, QuantFormat::of(kind).unwrap(), next).unwrap();
            let wanted = stored.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for (row, wanted) in wanted.iter().enumerate() {
                assert!(packed.row(row).iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{kind:?} row {row}");
            }
            expanded(&packed);
        }
        let values = weights.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let full = Packed::full(40, 64, &values);
        assert_eq!(full.row(39), values[39 * 64..]);
        expanded(&full);
        for (kind, bits) in [
            (GgmlDType::F16, values.iter().map(|&x| f16::from_f32(x).to_bits()).collect::<Vec<_>>()),
            (GgmlDType::BF16, values.iter().map(|&x| bf16::from_f32(x).to_bits()).collect()),
        ] {
            let mut rows = bits.chunks_exact(64);
            let packed = Packed::halves(40, 64, kind, |row| {
                row.copy_from_slice(rows.next().unwrap());
                Ok(())
            });
            let packed = packed.unwrap();
            assert!(packed.row(35).iter().zip(&values[35 * 64..]).all(|(a, b)| (a - b).abs() < 0.01 * b.abs()));
            expanded(&packed);
        }
    }
}
