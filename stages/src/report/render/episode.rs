//! One or two of the language model's episodes as a person would tell them.
//!
//! Which ones is a rule, not a choice: the episode with the median return and the one with the lowest.

use crate::artifact::{Demonstrations, Items, TitledEpisode, Trajectory};

/// An episode ready to print.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct Example {
    /// Why this one: `median return`.
    pub why: String,
    pub told: TitledEpisode,
}

/// How often the first candidate in the list was taken, and how often chance would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct FirstTaken {
    pub share: f64,
    pub by_chance: f64,
    pub choices: usize,
}

/// The episodes to print.
pub(in crate::report) fn examples(demonstrations: &Demonstrations, items: &Items) -> Vec<Example> {
    let mut order: Vec<&Trajectory> = demonstrations.trajectories.iter().collect();
    order.sort_by(|a, b| a.total().total_cmp(&b.total()));
    let Some(lowest) = order.first() else { return Vec::new() };
    let median = order[(order.len() - 1) / 2];
    let mut picked = vec![("median return", median)];
    if !std::ptr::eq(median, *lowest) {
        picked.push(("lowest return", lowest));
    }
    let example = |(why, trajectory): (&str, &Trajectory)| Example {
        why: why.to_owned(),
        told: TitledEpisode::of(trajectory, Some(items)),
    };
    picked.into_iter().map(example).collect()
}

/// A model that scores titles may only have learnt places: compare with chance. `None` without a real choice.
pub(in crate::report) fn first_taken(demonstrations: &Demonstrations) -> Option<FirstTaken> {
    let (mut taken, mut chance, mut choices) = (0usize, 0.0, 0usize);
    for (_, _, step) in demonstrations.steps().filter(|(_, _, step)| step.candidates.len() > 1) {
        choices += 1;
        taken += usize::from(step.candidates[0] == step.item);
        chance += 1.0 / step.candidates.len() as f64;
    }
    let n = choices as f64;
    (choices > 0).then(|| FirstTaken { share: taken as f64 / n, by_chance: chance / n, choices })
}

#[cfg(test)]
mod tests {
    use super::{examples, first_taken};
    use crate::artifact::{Demonstrations, Items, Step, Termination, Trajectory};

    fn play(user: u32, item: u32, reward: f32) -> Trajectory {
        let step = Step { item, reward, candidates: vec![0, 1], scores: Vec::new(), call: String::new() };
        Trajectory { user, steps: vec![step], end: Termination::Similar }
    }

    fn items() -> Items {
        Items {
            id: vec!["a".into(), "b".into()],
            title: vec!["Heat".into(), "Fargo (1996)".into()],
            year: vec![Some(1995), Some(1996)],
            genres: vec![Vec::new(), Vec::new()],
            ..Items::default()
        }
    }

    #[test]
    fn the_median_and_the_lowest_are_shown() {
        let demonstrations = Demonstrations::new(vec![play(7, 0, 5.0), play(8, 1, 1.0), play(9, 7, 3.0)]);
        let shown = examples(&demonstrations, &items());
        let seen: Vec<_> = shown.iter().map(|e| (e.why.as_str(), e.told.user, e.told.total)).collect();
        assert_eq!(seen, [("median return", 9, 3.0), ("lowest return", 8, 1.0)]);
        assert_eq!(shown[0].told.steps[0].title, "item 7, not in the catalogue");
        assert_eq!(examples(&Demonstrations::new(vec![play(7, 0, 5.0)]), &items()).len(), 1);
        assert!(examples(&Demonstrations::default(), &items()).is_empty());
    }

    #[test]
    fn taking_the_first_is_held_against_chance() {
        let demonstrations = Demonstrations::new(vec![play(7, 0, 5.0), play(8, 1, 1.0)]);
        let taken = first_taken(&demonstrations).expect("two choices");
        assert_eq!((taken.share, taken.by_chance, taken.choices), (0.5, 0.5, 2));
        assert_eq!(first_taken(&Demonstrations::default()), None);
    }
}
