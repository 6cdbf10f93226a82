//! The learners of a study, and what each knows of the items besides their ratings and a model's scores.

use anyhow::Result;
use rand::seq::SliceRandom;

use crate::artifact::{ItemVectors, Items};
use crate::nn::rng;
use crate::ratings::{Design, HoldOut, Learner, Validation};

/// Popularity by mean rating.
pub(super) const BY_MEAN: &str = "popular by mean";
/// Popularity around what genre and year predict.
pub(super) const GENRE_AND_YEAR: &str = "genre and year";
/// Popularity around what vectors predict.
pub(super) const TEXT: &str = "text";
/// Popularity around what all of these predict.
pub(super) const GENRE_YEAR_AND_TEXT: &str = "genre, year and text";
/// The same with the vectors of other items.
pub(super) const TEXT_PERMUTED: &str = "text of other items";
pub(super) const GENRE_YEAR_AND_TEXT_PERMUTED: &str = "genre, year and text of other items";
/// Popularity by mean rating and factors.
const FACTORIZATION: &str = "factorization";
/// Learners that read vectors, controls included.
pub(super) const OF_VECTORS: [&str; 4] = [TEXT, GENRE_YEAR_AND_TEXT, TEXT_PERMUTED, GENRE_YEAR_AND_TEXT_PERMUTED];

/// A learner that takes part.
pub(super) struct Contender {
    pub learner: Learner,
    pub name: &'static str,
    /// What it knows of the items.
    pub design: Design,
    /// Whether its vectors are those of other items.
    pub control: bool,
}

/// The learners for these `items`, the simplest first. Learners of genre and year take part where the catalogue has any, those of text
/// where there are `vectors`. Factors say nothing of an item without ratings.
pub(super) fn contenders(
    items: &Items,
    vectors: Option<&ItemVectors>,
    validation: Validation,
) -> Result<Vec<Contender>> {
    let catalogue = Design::of_genres_and_years(items);
    let contender = |learner, name, design: &Design| {
        let control = [TEXT_PERMUTED, GENRE_YEAR_AND_TEXT_PERMUTED].contains(&name);
        Contender { learner, name, design: design.clone(), control }
    };
    let mut all = vec![contender(Learner::Biases, BY_MEAN, &catalogue)];
    if !catalogue.is_empty() {
        all.push(contender(Learner::Features, GENRE_AND_YEAR, &catalogue));
    }
    if let Some(vectors) = vectors {
        let text = Design::of_vectors(vectors)?;
        let mut from: Vec<usize> = (0..items.len()).collect();
        from.shuffle(&mut rng(&[validation.seed, 0x5f20]));
        let permuted = text.permuted(&from);
        for (text, alone, both) in
            [(text, TEXT, GENRE_YEAR_AND_TEXT), (permuted, TEXT_PERMUTED, GENRE_YEAR_AND_TEXT_PERMUTED)]
        {
            all.push(contender(Learner::Features, alone, &text));
            if !catalogue.is_empty() {
                all.push(contender(Learner::Features, both, &catalogue.beside(&text)));
            }
        }
    }
    if validation.hold_out == HoldOut::Ratings {
        all.push(contender(Learner::Factorization, FACTORIZATION, &catalogue));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

    #[test]
    fn who_takes_part() {
        let items = |genre: &str| Items {
            id: (0..6).map(|k| k.to_string()).collect(),
            title: vec![String::new(); 6],
            year: vec![None; 6],
            genres: (0..6).map(|k| if k < 3 { vec![genre.to_owned()] } else { vec![] }).collect(),
            ..Items::default()
        };
        let data = (0..12).map(|k| (k * k % 7) as f32).collect();
        let vectors = ItemVectors { vectors: Array::new(&[6, 2], data), space: "toy".into(), columns: vec![] };
        let names = |items: &Items, vectors: Option<&ItemVectors>, hold_out| -> Vec<&str> {
            let all = contenders(items, vectors, Validation { hold_out, seed: 2 }).unwrap();
            assert!(all.iter().all(|one| one.control == one.name.ends_with("other items")));
            all.iter().map(|one| one.name).collect()
        };
        assert_eq!(names(&items("a"), None, HoldOut::Ratings), [BY_MEAN, GENRE_AND_YEAR, FACTORIZATION]);
        assert_eq!(names(&items("a"), None, HoldOut::Items), [BY_MEAN, GENRE_AND_YEAR]);
        assert_eq!(names(&items(""), Some(&vectors), HoldOut::Items), [BY_MEAN, TEXT, TEXT_PERMUTED]);
        assert_eq!(
            names(&items("a"), Some(&vectors), HoldOut::Ratings),
            [&[BY_MEAN, GENRE_AND_YEAR][..], &OF_VECTORS, &[FACTORIZATION]].concat()
        );
    }
}
