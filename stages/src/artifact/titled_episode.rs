//! One trajectory with item titles in place of item numbers.

use super::{Items, Step, Termination, Trajectory};

/// An episode with titles.
#[derive(Clone, Debug, PartialEq)]
pub struct TitledEpisode {
    /// The user.
    pub user: u32,
    /// Sum of the rewards.
    pub total: f64,
    /// Why it ended.
    pub end: Termination,
    /// In order.
    pub steps: Vec<TitledStep>,
}

/// One recommendation.
#[derive(Clone, Debug, PartialEq)]
pub struct TitledStep {
    /// What was recommended.
    pub title: String,
    /// The reward.
    pub reward: f64,
    /// Place of the chosen item among the candidates, from 1, where it is one of them.
    pub place: Option<usize>,
    /// Titles as they were offered.
    pub candidates: Vec<String>,
}

impl TitledEpisode {
    /// A trajectory with the titles of `items`; without a catalogue, with their numbers.
    #[must_use]
    pub fn of(trajectory: &Trajectory, items: Option<&Items>) -> Self {
        Self {
            user: trajectory.user,
            total: trajectory.total(),
            end: trajectory.end,
            steps: trajectory.steps.iter().map(|step| TitledStep::of(step, items)).collect(),
        }
    }
}

impl TitledStep {
    fn of(step: &Step, items: Option<&Items>) -> Self {
        Self {
            title: title(items, step.item),
            reward: f64::from(step.reward),
            place: step.candidates.iter().position(|&item| item == step.item).map(|at| at + 1),
            candidates: step.candidates.iter().map(|&item| title(items, item)).collect(),
        }
    }
}

impl Trajectory {
    /// The sum of its rewards.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.steps.iter().map(|step| f64::from(step.reward)).sum()
    }
}

/// The title of an item with its year; without a catalogue, its number.
pub(crate) fn title(items: Option<&Items>, item: u32) -> String {
    let Some(items) = items else { return format!("item {item}") };
    let Some(title) = items.title.get(item as usize) else { return format!("item {item}, not in the catalogue") };
    match items.year.get(item as usize) {
        Some(Some(year)) if !title.contains(&year.to_string()) => format!("{title} ({year})"),
        _ => title.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_titles_and_years() {
        let items = Items {
            id: vec!["a".into(), "b".into()],
            title: vec!["Heat".into(), "Fargo (1996)".into()],
            year: vec![Some(1995), Some(1996)],
            genres: vec![Vec::new(), Vec::new()],
            ..Items::default()
        };
        let step = |item, reward| Step { item, reward, candidates: vec![0, 1], scores: vec![], call: String::new() };
        let trajectory = Trajectory { user: 7, steps: vec![step(1, 1.5), step(9, 2.0)], end: Termination::Similar };
        let told = TitledEpisode::of(&trajectory, Some(&items));
        assert_eq!((told.user, told.total, told.steps[0].place), (7, 3.5, Some(2)));
        assert_eq!(told.steps[0].candidates, ["Heat (1995)", "Fargo (1996)"]);
        assert_eq!((told.steps[1].title.as_str(), told.steps[1].place), ("item 9, not in the catalogue", None));
        assert_eq!(TitledEpisode::of(&trajectory, None).steps[0].title, "item 1");
    }
}
