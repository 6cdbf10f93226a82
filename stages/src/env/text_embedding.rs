//! Items as vectors of their texts, without a model: hashed character trigrams through a seeded random projection.
//!
//! A text is its lower-cased title and genres; each of its trigrams (characters, blanks around words) draws, by its BLAKE3, one
//! vector of signs; the text's vector is their sum over √(D·n), scaled to length 1 (random indexing, after Achlioptas 2003). Similar
//! spelling gives similar vectors. Left out: meaning beyond spelling, which needs the embeddings of a language model.

use crate::artifact::{Array, Items};
use crate::nn::rng;
use rand::RngExt;

/// One vector an item, `[I, width]`, of length 1; all 0 where there is no text.
#[must_use]
pub fn embed_texts(items: &Items, width: usize, seed: u64) -> Array {
    let mut data = Vec::with_capacity(items.len() * width);
    for (title, genres) in items.title.iter().zip(&items.genres) {
        let text = format!(" {title} {} ", genres.join(" ")).to_lowercase();
        let characters: Vec<char> =
            text.split_whitespace().flat_map(|word| format!(" {word} ").chars().collect::<Vec<_>>()).collect();
        let mut sum = vec![0.0_f64; width];
        for trigram in characters.windows(3) {
            let place = trigram.iter().map(|&c| u64::from(u32::from(c)));
            let path: Vec<u64> = [seed, 0x7e87].into_iter().chain(place).collect();
            let mut draw = rng(&path);
            sum.iter_mut().for_each(|x| *x += if draw.random::<bool>() { 1.0 } else { -1.0 });
        }
        let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        data.extend(sum.iter().map(|x| (x / length) as f32));
    }
    Array::new(&[items.len(), width], data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_spelling_gives_alike_vectors_and_equal_seeds_equal_bytes() {
        let titles = ["Toy Story", "Toy Story 2", "Heat", ""];
        let items = Items {
            id: titles.iter().map(|&t| t.to_owned()).collect(),
            title: titles.iter().map(|&t| t.to_owned()).collect(),
            genres: vec![vec![]; 4],
            ..Items::default()
        };
        let vectors = embed_texts(&items, 64, 1);
        let cosine = |a: usize, b: usize| vectors.row(a).iter().zip(vectors.row(b)).map(|(x, y)| x * y).sum::<f32>();
        assert!((cosine(0, 0) - 1.0).abs() < 1e-5);
        assert!(cosine(0, 1) > 0.7 && cosine(0, 2).abs() < 0.5, "{} {}", cosine(0, 1), cosine(0, 2));
        assert_eq!(vectors.row(3), [0.0; 64]);
        assert_eq!(embed_texts(&items, 64, 1), vectors);
        assert_ne!(embed_texts(&items, 64, 2), vectors);
    }
}
