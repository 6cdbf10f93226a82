//! The quantisation formats of GGUF files, read into one form: w = q · scale + min, with a whole number q per weight, and a scale
//! and a min per group of 16 or 32 weights, as the file stores them ([`super::scales`]).
//!
//! The layouts are ggml's (`ggml-common.h`, `dequantize_row_*` in `ggml-quants.c`). Formats that are not here are dequantised
//! to f32 when a file is loaded.

use candle_core::quantized::GgmlDType;

use super::scale_form::ScaleForm;

/// The numbers of a row, filled by [`QuantFormat::read`].
#[derive(Default)]
pub(super) struct Row {
    /// One per weight: 0 to 15 in a 4-bit format, else the bits of an i8.
    pub quants: Vec<u8>,
    /// The bits of two float16 per block: of the scale, and above them of the min.
    pub factors: Vec<u32>,
    /// One per group where a block has several: by how much the scale is multiplied, and above 8 bits the min.
    pub times: Vec<u16>,
}

/// One quantisation format.
#[derive(Clone, Copy)]
pub(super) struct QuantFormat {
    kind: GgmlDType,
    /// Bits of a number after reading: 4, or 8 for all larger ones.
    pub bits: usize,
    /// Weights that share a scale.
    pub group: usize,
    /// How the file stores the scales.
    pub scales: ScaleForm,
}

impl QuantFormat {
    /// None for a type that is not supported here.
    pub(super) fn of(kind: GgmlDType) -> Option<Self> {
        let (bits, group, scales) = match kind {
            GgmlDType::Q4_0 => (4, 32, ScaleForm::Scale { min: -8.0 }),
            GgmlDType::Q4_1 => (4, 32, ScaleForm::ScaleAndMin),
            GgmlDType::Q5_0 | GgmlDType::Q8_0 => (8, 32, ScaleForm::Scale { min: 0.0 }),
            GgmlDType::Q5_1 => (8, 32, ScaleForm::ScaleAndMin),
            GgmlDType::Q4K => (4, 32, ScaleForm::Multiples),
            GgmlDType::Q5K => (8, 32, ScaleForm::Multiples),
            GgmlDType::Q6K => (8, 16, ScaleForm::SignedMultiples),
            _ => return None,
        };
        Some(Self { kind, bits, group, scales })
    }

    /// Groups that share the factors of their scales.
    pub(super) fn groups_per_block(self) -> usize {
        self.kind.block_size() / self.group
    }

    /// Bytes of a row of `columns` weights, which whole blocks must hold.
    pub(super) fn row_bytes(self, columns: usize) -> Option<usize> {
        columns.is_multiple_of(self.kind.block_size()).then(|| columns / self.kind.block_size() * self.kind.type_size())
    }

    /// Reads one row into `row`.
    pub(super) fn read(self, bytes: &[u8], row: &mut Row) {
        row.quants.clear();
        row.factors.clear();
        row.times.clear();
        for block in bytes.chunks_exact(self.kind.type_size()) {
            match self.kind {
                GgmlDType::Q4_0 => {
                    row.factors(block, None);
                    row.nibbles(&block[2..]);
                }
                GgmlDType::Q4_1 => {
                    row.factors(block, Some(&block[2..]));
                    row.nibbles(&block[4..]);
                }
                GgmlDType::Q5_0 => {
                    row.factors(block, None);
                    row.five_bits(&block[2..6], &block[6..], 16);
                }
                GgmlDType::Q5_1 => {
                    row.factors(block, Some(&block[2..]));
                    row.five_bits(&block[4..8], &block[8..], 0);
                }
                GgmlDType::Q8_0 => {
                    row.factors(block, None);
                    row.quants.extend_from_slice(&block[2..]);
                }
                GgmlDType::Q4K => {
                    row.super_groups(&block[..16]);
                    block[16..].chunks_exact(32).for_each(|part| row.nibbles(part));
                }
                GgmlDType::Q5K => {
                    row.super_groups(&block[..16]);
                    let (high, low) = block[16..].split_at(32);
                    for (part, low) in low.chunks_exact(32).enumerate() {
                        let bit = |high: u8, place: usize| (high >> (2 * part + place) & 1) << 4;
                        row.quants.extend(low.iter().zip(high).map(|(low, &high)| low & 15 | bit(high, 0)));
                        row.quants.extend(low.iter().zip(high).map(|(low, &high)| low >> 4 | bit(high, 1)));
                    }
                }
                GgmlDType::Q6K => row.six_bits(block),
                _ => unreachable!("`of` gives no such format"),
            }
        }
    }
}

impl Row {
    fn factors(&mut self, scale: &[u8], min: Option<&[u8]>) {
        let bits = |bytes: &[u8]| u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        self.factors.push(bits(scale) | min.map_or(0, bits) << 16);
    }

    /// The low halves of all bytes, then the high ones.
    fn nibbles(&mut self, bytes: &[u8]) {
        self.quants.extend(bytes.iter().map(|byte| byte & 15));
        self.quants.extend(bytes.iter().map(|byte| byte >> 4));
    }

    /// [`Row::nibbles`] with a fifth bit each from `high`, less `middle`.
    fn five_bits(&mut self, high: &[u8], low: &[u8], middle: u8) {
        let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
        let from = self.quants.len();
        self.nibbles(low);
        for (place, quant) in self.quants[from..].iter_mut().enumerate() {
            *quant = (*quant | ((high >> place & 1) as u8) << 4).wrapping_sub(middle);
        }
    }

    /// Eight groups whose scales and mins are 6-bit multiples of two common numbers.
    fn super_groups(&mut self, head: &[u8]) {
        let packed = &head[4..];
        self.factors(head, Some(&head[2..]));
        for group in 0..8 {
            let (times, less) = if group < 4 {
                (packed[group] & 63, packed[group + 4] & 63)
            } else {
                let (mixed, first, second) = (packed[group + 4], packed[group - 4], packed[group]);
                (mixed & 15 | (first >> 6) << 4, mixed >> 4 | (second >> 6) << 4)
            };
            self.times.push(u16::from(times) | u16::from(less) << 8);
        }
    }

    /// 256 numbers of 6 bits, 16 signed scales, and the common factor of the scales.
    fn six_bits(&mut self, block: &[u8]) {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (times, scale) = rest.split_at(16);
        self.factors(scale, None);
        self.times.extend(times.iter().map(|time| u16::from(*time)));
        for (low, high) in low.chunks_exact(64).zip(high.chunks_exact(32)) {
            for part in 0..4 {
                self.quants.extend((0..32).map(|place| {
                    let four = low[place + part % 2 * 32] >> (part / 2 * 4) & 15;
                    let two = high[place] >> (2 * part) & 3;
                    (four | two << 4).wrapping_sub(32)
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_core::quantized::QTensor;

    use super::*;
    use crate::nn::Init;

    #[test]
    fn every_format_is_read_as_candle_reads_it() {
        let weights = Init::new(7).normal(&[3, 512], 0.1).unwrap();
        for kind in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let stored = QTensor::quantize(&weights, kind).unwrap();
            let wanted = stored.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let format = QuantFormat::of(kind).unwrap();
            let bytes = stored.data().unwrap();
            let mut row = Row::default();
            for (bytes, wanted) in bytes.chunks_exact(format.row_bytes(512).unwrap()).zip(&wanted) {
                format.read(bytes, &mut row);
                let per_block = format.groups_per_block();
                assert_eq!((row.quants.len(), row.factors.len()), (512, 512 / format.group / per_block));
                for (place, wanted) in wanted.iter().enumerate() {
                    let quant = row.quants[place];
                    let number = if format.bits == 4 { f32::from(quant) } else { f32::from(quant as i8) };
                    let (group, block) = (place / format.group, place / format.group / per_block);
                    let time = row.times.get(group).copied().unwrap_or_default();
                    let (scale, min) = format.scales.of(row.factors[block], u32::from(time));
                    let found = number.mul_add(scale, min);
                    assert!((found - wanted).abs() < 1e-6, "{kind:?} {place}: {found} {wanted}");
                }
            }
        }
        assert!(QuantFormat::of(GgmlDType::Q2K).is_none());
        assert!(QuantFormat::of(GgmlDType::Q4_0).unwrap().row_bytes(48).is_none());
    }
}
