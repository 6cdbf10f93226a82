//! Damage at random, the same for the same seed.

/// Numbers at the edges of what lengths and offsets may be.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// A source of damage (SplitMix64, Steele et al. 2014).
pub struct Damage(u64);

impl Damage {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// One of the seeds with a few things wrong.
    pub fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.once(&mut bytes, seeds);
        }
        bytes
    }

    fn once(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.place(bytes.len());
        match self.below(9) {
            0 => bytes.truncate(at),
            1 | 2 => set(bytes, at, |byte| byte ^ 1 << (at % 8)),
            3 => {
                let byte = self.next() as u8;
                set(bytes, at, |_| byte);
            }
            4 => {
                let edge = EDGES[self.below(EDGES.len())];
                let width = [1, 2, 4, 8][self.below(4)];
                edge.to_le_bytes()[..width].iter().enumerate().for_each(|(i, &byte)| set(bytes, at + i, |_| byte));
            }
            5 => {
                let length = self.below(64).min(bytes.len() - at.min(bytes.len()));
                bytes.drain(at..at + length);
            }
            6 => {
                let length = self.below(64).min(bytes.len() - at.min(bytes.len()));
                let piece = bytes[at..at + length].to_vec();
                let to = self.place(bytes.len());
                bytes.splice(to..to, piece);
            }
            7 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let length = self.below(256).min(other.len() - from);
                let piece = &other[from..from + length];
                piece.iter().enumerate().for_each(|(i, &byte)| set(bytes, at + i, |_| byte));
            }
            _ => {
                let length = self.below(32);
                let byte = [0x00, 0xff, 0x80, b'['][self.below(4)];
                (at..at + length).for_each(|at| set(bytes, at, |_| byte));
            }
        }
    }

    /// Anywhere, but often near the end, where footers are, or the beginning, where headers are.
    fn place(&mut self, length: usize) -> usize {
        let near = length.min(512);
        match self.below(3) {
            0 => self.below(length),
            1 => length - near + self.below(near),
            _ => self.below(near),
        }
    }
}

fn set(bytes: &mut [u8], at: usize, value: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value(*byte);
    }
}
